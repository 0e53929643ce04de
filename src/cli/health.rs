//! `hublatch health`: whether the running hublatch is ready, for container probes. It needs no shell and no curl.

use hyper::StatusCode;
use serde::Deserialize;

use super::call::Target;
use super::{Exit, block_on, fail, load};
use crate::config::{Config, Source};

/// Asks `/ready` on the management listener of the configuration.
pub fn run(source: &Source) -> Exit {
    let config = match load(source) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let asked = block_on(ready(&config));
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
    let asked = Target::management(config)?.get("/ready").await;
    let answer = asked.map_err(|error| match &config.management.tls {
        Some(_) if error.contains("TLS handshake") => {
            format!("{error} (does hublatch still run with an older management.tls.certificate?)")
        }
        _ => error,
    })?;
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let message = serde_json::from_slice::<Unready>(&answer.body).map(|unready| unready.message);
    Err(message.unwrap_or_else(|_| format!("/ready answers {}", answer.status)))
}
