//! hublatch: a reverse proxy that performs forced login for JupyterHub.

pub mod audit;
pub mod clock;
pub mod config;
pub mod login;
pub mod metrics;
pub mod shutdown;
pub mod store;
pub mod token;
