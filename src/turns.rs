//! Who waits for something of which there is not enough, whose turn it is, and how long that takes.
//!
//! Logins and starts of servers wait alike. Knows neither sockets nor what is waited for.

pub mod line;
pub mod numbers;
pub mod rate;
