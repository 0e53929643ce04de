//! From the file to the configuration.
pub struct Fault; pub struct Faults; pub fn load() {}
