//! hublatch: a reverse proxy that performs forced login for JupyterHub.

pub mod audit;
pub mod body;
pub mod clock;
pub mod config;
pub mod login;
pub mod metrics;
pub mod pages;
pub mod proxy;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod token;
