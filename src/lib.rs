//! hublatch: a reverse proxy that performs forced login for JupyterHub.

pub mod api;
pub mod app;
pub mod audit;
pub mod body;
pub mod cli;
pub mod clock;
pub mod config;
pub mod logging;
pub mod login;
pub mod metrics;
pub mod pages;
pub mod proxy;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod token;
