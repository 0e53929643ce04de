//! `hublatch health`: whether the running hublatch is ready, for container probes. It needs no shell and no curl.

use clap::Args;
use hyper::StatusCode;
use serde::Deserialize;

use super::call::CallTarget;
use super::{ConfigArg, Exit, block_on, fail, load};
use crate::config::Config;

/// What is asked.
#[derive(Debug, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Only whether the process answers and does not drain, whatever the hub and the store do
    #[arg(long)]
    live: bool,
}

/// Asks `/ready`, or `/live`, on the management listener of the configuration.
pub fn run(args: HealthArgs) -> Exit {
    let path = if args.live { "/live" } else { "/ready" };
    let config = match load(&args.config.source()) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let asked = block_on(ask(&config, path));
    match asked.map_err(|error| error.to_string()).and_then(|outcome| outcome) {
        Ok(()) => Exit::Done,
        Err(reason) => fail("health", &reason),
    }
}

#[derive(Deserialize)]
struct Unready {
    message: String,
}

/// Whether `/ready` says so; else what it says, or why it does not say anything.
pub(super) async fn ready(config: &Config) -> Result<(), String> {
    ask(config, "/ready").await
}

/// Whether `path` says so; else what it says, or why it does not say anything.
async fn ask(config: &Config, path: &str) -> Result<(), String> {
    let asked = CallTarget::management(config)?.get(path).await;
    let response = asked.map_err(|error| match &config.management.tls {
        Some(_) if error.contains("TLS handshake") => {
            format!("{error} (does hublatch still run with an older management.tls.certificate?)")
        }
        _ => error,
    })?;
    if response.status == StatusCode::OK {
        return Ok(());
    }
    let message = serde_json::from_slice::<Unready>(&response.body).map(|unready| unready.message);
    Err(message.unwrap_or_else(|_| format!("{path} answers {}", response.status)))
}
