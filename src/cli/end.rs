//! `hublatch end`: asks a running hublatch to end all browser sessions of a user, as an app does.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::link::{ApiArgs, answered, request};
use super::{Exit, block_on, fail, print};

/// Whose sessions end.
#[derive(Debug, Args)]
#[command(
    after_help = "The API is found and called as by `hublatch link`; the app of the key needs the scope \"end\"."
)]
pub struct EndArgs {
    /// Whose sessions are to end
    #[arg(value_name = "USER")]
    username: String,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Deserialize)]
struct Ended {
    ended: usize,
}

/// Prints how many there were, or says why they were not ended.
pub fn run(args: &EndArgs) -> Exit {
    let outcome = block_on(end(args));
    match outcome.map_err(|error| error.to_string()).and_then(|outcome| outcome) {
        Ok(ended) => print(&format!("sessions ended: {ended}")),
        Err(reason) => fail("end", &reason),
    }
}

async fn end(args: &EndArgs) -> Result<usize, String> {
    let name = utf8_percent_encode(&args.username, NON_ALPHANUMERIC);
    let path = format!("/api/v1/users/{name}/sessions");
    let ended: Ended = answered(request(&args.api, Method::DELETE, &path)?, StatusCode::OK).await?;
    Ok(ended.ended)
}
