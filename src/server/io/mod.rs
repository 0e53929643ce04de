//! Byte streams of a connection, layer by layer: the socket, its timeouts, what is judged on the way.

pub mod http1_io;
pub mod http2_io;
pub mod read_gate;
pub mod stream;
pub(crate) mod through;
mod write_timeout;
