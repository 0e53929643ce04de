//! hublatch: a reverse proxy that performs forced login for JupyterHub.
//!
//! An application issues a login link by one call of the management API; a browser opens the link; hublatch consumes
//! the token in it, at most once, and logs its user in at the hub by an identity header and a signed assertion.
//! Everything else passes to the hub untouched.
//!
//! # The map
//!
//! | floor | modules | what is in them |
//! | --- | --- | --- |
//! | 7 | `main.rs` | the process: arguments in, exit code out |
//! | 6 | [`cli`] | one file a command: serve, check, init, keygen, assertion, link, doctor, health |
//! | 5 | [`app`] | composition root: builds every part from the configuration, binds, runs, reloads, drains |
//! | 4 | [`proxy`] [`api`] [`status`] | one request from browser to hub and back; the management API; health and metrics |
//! | 3 | [`login`] [`server`] [`routes`] | the life of a login token; the accept side: sockets, framing, timeouts, drain; the routing table |
//! | 2 | [`store`] [`hub`] [`pages`] | where tokens live; the client of the Hub API; the few pages we show |
//! | 1 | [`config`] [`body`] [`turns`] | the TOML as written and as meant; the body of a request on its way; who waits, and whose turn it is |
//! | 0 | [`token`] [`clock`] [`deadline`] [`poll_on_wake`] [`client_network`] [`tls`] [`metrics`] [`logging`] [`audit`] [`reloads`] [`shutdown`] [`last_activity`] [`request_id`] | the leaves |
//!
//! Imports go down only, never up or sideways (`tests/it/floors.rs`).
//!
//! # Walkthrough: a link is issued
//!
//! `POST /api/v1/links` arrives at the management listener ([`server`]), is authenticated by its key
//! (`Applications::authenticate`) and read strictly ([`api`]), judged by the app's rules and given a token and a digest
//! (`Issuer::prepare`), and kept as the digest alone (`Issuer::issue`, [`store`]). The response is the only place where the
//! token is ever written.
//!
//! # Walkthrough: a link is clicked
//!
//! 1. `server::framing` judges the raw bytes, `proxy::validate` the request; what is ambiguous is refused.
//! 2. `proxy::headers` and `proxy::identity` strip what no client may say, then add where the request came from.
//! 3. `proxy::login`: is this a person's navigation? Is the link good (`Redeemer::validate`)? Is the hub alive, and
//!    who is this browser (`proxy::hub_session`)? Must they be asked first?
//! 4. `proxy::login::execute`: consume (`Redeemer::consume`, the only maker of a `VerifiedUser`), end another
//!    user's session, set the identity (`IdentityHeaders::set` takes the `VerifiedUser` by value), send the login, once.
//!
//! # Walkthrough: the configuration is replaced
//!
//! [`app`] builds a new snapshot of every part. The rules of tokens are one value of it, `login::policy::Policy`, and that
//! one is put in force first: all snapshots share the place where it stands and ask it for each decision, so a request
//! that began before the reload is judged by the rules after it.
//!
//! # Walkthrough: a server is launched
//!
//! 1. A request with `launch` is judged (`Issuer::prepare`); then the hub is asked to create the user and to start the
//!    server (`HubClient::launch`); then the link is stored. What fails half-way says what was done.
//! 2. The click is redeemed as any other, but the hub is told to lead the browser to our waiting page
//!    (`login::spawn_ticket`: a ticket in its path says for whom, which server, and where to go then).
//! 3. `proxy::launch_page`: whom the hub knows as the ticket's user sees how the server starts, from the hub's own events
//!    (`hub::events`), and is sent into it when it is ready. Nothing of this is kept here.
//!
//! # Invariants
//!
//! - The identity header reaches the hub only on the request whose token was consumed.
//! - A plain token never reaches a store, a log, a metric or the hub.
//! - Consuming is atomic, comes after the connection to the hub stands, and is never retried.
//! - No event carries a query string. Every wait, size and count has a limit. Nothing a peer can send panics.
//! - Bodies stream; the proxy holds none but forms at the login path and chunked bodies of `DELETE` and `OPTIONS`.
//! - Every tunnel is tracked; a drain has an end.
//! - Any failure ends in *no identity*.

pub mod api;
pub mod app;
pub mod audit;
pub mod body;
pub mod cli;
pub mod client_network;
pub mod clock;
pub mod config;
pub mod deadline;
pub mod hub;
pub mod last_activity;
pub mod logging;
pub mod login;
pub mod metrics;
pub mod pages;
pub mod poll_on_wake;
pub mod proxy;
pub mod reloads;
pub mod request_id;
pub mod routes;
pub mod server;
pub mod shutdown;
pub mod status;
pub mod store;
pub mod tls;
pub mod token;
pub mod turns;
