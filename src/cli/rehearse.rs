//! `hublatch rehearse`: a class that starts at once, against a test hub, so that Monday can be tried on Friday.
//!
//! Users `rehearse-1`, `rehearse-2`, … are created through the Hub API, get a link each as an application would order it,
//! and click it as browsers do: with cookies, Fetch Metadata and patience for the queue page. With `--start-servers`
//! each also waits until its server answers. Everything that was created is removed at the end.

mod browser;
mod report;

use reqwest::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::link::{self, ApiArgs};
use super::{ConfigArg, Exit, block_on, complain, fail, load, print};
use crate::config::Config;
use crate::hub::{Created, HubClient, HubError};
use crate::metrics::Metrics;
use crate::tls::{Connector, Roots};

use browser::{Browser, Clicked, Site};
use report::Report;

/// What stands before the number in the name of a rehearsing user.
const PREFIX: &str = "rehearse-";
/// The most users: more than any class, and few enough for one machine's sockets.
const USERS_MAX: u32 = 5_000;
/// How many users are created or removed at a time: the hub is one process, and nobody waits.
const AT_A_TIME: usize = 8;
/// How often, and how many times at most, it is looked whether a user is there again; and how many looks must find none.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOKS_MAX: usize = 10;
const LOOKS_QUIET: usize = 2;
/// The most links in one order (`api::links`).
const BATCH_MAX: usize = 500;

/// What is rehearsed.
#[derive(Debug, Args)]
#[command(
    after_help = "Only for a hub on which nobody works: it is put under the load of the whole class. Needs hub.api_token_file \
                        with the scopes admin:users and servers, and an application's key as `hublatch link` does \
                        (HUBLATCH_API_URL, HUBLATCH_API_KEY)."
)]
pub struct RehearseArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    api: ApiArgs,
    /// How many people click
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(USERS_MAX)))]
    users: u32,
    /// All in the same moment [default: spread over ten seconds]
    #[arg(long, conflicts_with = "over")]
    at_once: bool,
    /// The time over which the clicks are spread, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    over: u64,
    /// Go on into the notebook servers, which the hub's own spawner starts
    #[arg(long)]
    start_servers: bool,
    /// How long one person waits, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
    /// Authorities to trust at the public address, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    public_ca_file: Option<PathBuf>,
    /// Rehearse although users are active at the hub
    #[arg(long)]
    force: bool,
}

#[derive(Deserialize)]
struct Batch {
    links: Vec<OrderedLink>,
}

#[derive(Deserialize)]
struct OrderedLink {
    url: String,
    username: String,
}

/// Rehearses and prints what came of it; exit 1 if anybody was left outside.
pub fn run(args: &RehearseArgs) -> Exit {
    let config = match load(&args.config.clone().source()) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    match block_on(rehearse(args, &config)).map_err(|error| error.to_string()).and_then(|outcome| outcome) {
        Ok(report) => {
            let printed = print(report.to_string().trim_end());
            if report.failed() == 0 { printed } else { Exit::Failed }
        }
        Err(reason) => fail("rehearse", &reason),
    }
}

async fn rehearse(args: &RehearseArgs, config: &Config) -> Result<Report, String> {
    let hub = HubClient::new(config, Arc::new(Metrics::new())).map_err(|error| error.to_string())?;
    if !hub.has_token() {
        return Err("set hub.api_token_file: the users are created through the Hub API".to_owned());
    }
    let site = Arc::new(site(args, config)?);
    if !args.force {
        refuse_a_busy_hub(&hub).await?;
    }
    let names: Vec<String> = (1..=args.users).map(|number| format!("{PREFIX}{number}")).collect();
    let outcome = class(args, config, &hub, &site, &names).await;
    // Whatever went wrong, nothing stays behind.
    let mut left = remove(&hub, &names).await.left;
    // Of a hub that does not remove them nothing better is known in a moment.
    if left == 0 && outcome.as_ref().map_or(true, |report| report.failed() > 0) {
        // A login that is under way when its browser gives up makes the hub create its user anew.
        let mut quiet = 0;
        for _ in 0..LOOKS_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
            let removed = remove(&hub, &names).await;
            left = removed.left;
            quiet = if removed.found == 0 { quiet + 1 } else { 0 };
            if quiet == LOOKS_QUIET || left > 0 {
                break;
            }
        }
    }
    if left > 0 {
        complain(&format!(
            "hublatch rehearse: {left} users could not be removed; the hub's administrator can remove {PREFIX}*"
        ));
    }
    outcome
}

/// Creates the users, orders their links, lets them click.
async fn class(
    args: &RehearseArgs,
    config: &Config,
    hub: &HubClient,
    site: &Arc<Site>,
    names: &[String],
) -> Result<Report, String> {
    complain(&format!("creating {} users", names.len()));
    let created: Vec<_> =
        stream::iter(names).map(|name| hub.create_user(name)).buffer_unordered(AT_A_TIME).collect().await;
    for outcome in created {
        if outcome.map_err(|error| format!("create a user: {error}"))? == Created::Existed {
            complain(&format!("a user {PREFIX}* was there before; it is removed at the end"));
        }
    }
    let links = order(args, config, names).await?;
    complain(&format!("{} people click", links.len()));
    let spread = if args.at_once { Duration::ZERO } else { Duration::from_secs(args.over) };
    let begun = Instant::now();
    let count = u32::try_from(links.len()).unwrap_or(u32::MAX).max(1);
    let mut clicks = JoinSet::new();
    for (number, link) in (0u32..).zip(links) {
        let (site, at) = (Arc::clone(site), begun + spread * number / count);
        let (patience, start) = (Duration::from_secs(args.patience), args.start_servers);
        clicks.spawn(async move {
            tokio::time::sleep_until(at).await;
            Browser::of(site, number)?.click(&link.url, &link.username, start, patience).await
        });
    }
    let mut clicked: Vec<Result<Clicked, String>> = Vec::with_capacity(clicks.len());
    while let Some(click) = clicks.join_next().await {
        clicked.push(click.unwrap_or_else(|error| Err(format!("the click was broken off: {error}"))));
    }
    Ok(Report::of(clicked, begun.elapsed(), args.start_servers))
}

/// A link for each of `names`, in as few orders as the API takes.
async fn order(args: &RehearseArgs, config: &Config, names: &[String]) -> Result<Vec<OrderedLink>, String> {
    let lifetime = config.login.max_lifetime.as_secs();
    let mut links = Vec::with_capacity(names.len());
    for names in names.chunks(BATCH_MAX) {
        let orders: Vec<Value> = names
            .iter()
            .map(|name| {
                // The hub starts the server where the spawner needs no choice, and leads to whatever it shows first.
                let next =
                    if args.start_servers { format!("hub/spawn/{name}") } else { "hub/home".to_owned() };
                let next = format!("{}{next}", config.hub.base_url);
                json!({"username": name, "next": next, "expires_in": lifetime, "note": "rehearsal"})
            })
            .collect();
        let request =
            link::request(&args.api, Method::POST, "/api/v1/links/batch")?.json(&json!({ "links": orders }));
        let batch: Batch = link::answered(request, StatusCode::CREATED).await?;
        links.extend(batch.links);
    }
    Ok(links)
}

fn site(args: &RehearseArgs, config: &Config) -> Result<Site, String> {
    let url = &config.public.url;
    let tls = if url.secure {
        let roots = match &args.public_ca_file {
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
                Roots::from_pem(&pem)
            }
            None => Roots::of_system(),
        };
        let host = url::Url::parse(&url.origin).ok().and_then(|url| url.host_str().map(str::to_owned));
        let connector = roots.and_then(|roots| Connector::to(&host.unwrap_or_default(), roots));
        Some(connector.map_err(|error| error.to_string())?)
    } else {
        None
    };
    Ok(Site { origin: url.origin.clone(), base_url: config.hub.base_url.clone(), tls })
}

/// A class that works must not be rehearsed over.
async fn refuse_a_busy_hub(hub: &HubClient) -> Result<(), String> {
    let users = hub.active_users().await.map_err(|error| format!("ask who is active: {error}"))?;
    let others: Vec<_> = users.iter().filter(|user| !user.name.starts_with(PREFIX)).collect();
    match others.first() {
        Some(one) => Err(format!(
            "{} users have running servers at this hub ({}, …): rehearse on a test hub, or say --force",
            others.len(),
            one.name
        )),
        None => Ok(()),
    }
}

/// What a removal of all users has met.
struct Removal {
    /// How many were there.
    found: usize,
    /// How many of them could not be removed.
    left: usize,
}

/// Removes the users, with their servers.
async fn remove(hub: &HubClient, names: &[String]) -> Removal {
    let removing = stream::iter(names).map(|name| hub.delete_user(name)).buffer_unordered(AT_A_TIME);
    let outcomes: Vec<Result<bool, HubError>> = removing.collect().await;
    let mut removal = Removal { found: 0, left: 0 };
    for outcome in outcomes {
        match outcome {
            Ok(there) => removal.found += usize::from(there),
            Err(error) => {
                tracing::debug!(%error, "remove a rehearsing user");
                removal.found += 1;
                removal.left += 1;
            }
        }
    }
    removal
}
