//! The connection to the primary, kept by a reconnect task on a thread of its own, for whichever thread calls.
//!
//! A call goes out on the present connection or fails at once; it is never sent twice, because a take whose answer was
//! lost may have happened. After an error the server is looked at again, and if need be the primary is found anew. The
//! cluster and Sentinel clients of the redis crate are not used: they send a call again by themselves.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Script, ScriptInvocation, Value};
use tokio::sync::Notify;

use super::super::StoreError;
use super::dial::Dialler;
use super::reply::ServerInfo;
use super::scripts::Scripts;
use super::server::{ServerError, ServerReport};
use crate::config::{self, RedisAddress, RedisServers};

/// The first pause after a failed attempt to connect; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// How often an idle connection is tried.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Why Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// It cannot be reached, or does not take our name and password.
    #[error("connect to Redis: {0}")]
    Connect(#[from] redis::RedisError),
    /// It is not fit to keep tokens.
    #[error("Redis is refused: {0}")]
    Server(#[from] ServerError),
    /// It was started, but has not read its data yet, or takes no connections yet.
    #[error("Redis is not up after {after:?} (store.loading_timeout): {last}")]
    NotUp {
        /// How long we have waited for it.
        after: Duration,
        /// Why it still could not be used then.
        #[source]
        last: Box<RedisError>,
    },
    /// Its reply makes no sense.
    #[error("Redis is refused: {0}")]
    Answer(#[source] StoreError),
    /// A call failed: whether the server has done it is not known.
    #[error("Redis: {0}")]
    Call(#[source] redis::RedisError),
    /// No Sentinel or node says where the primary is.
    #[error("find the primary of Redis: {0}")]
    NoPrimary(String),
    /// The Sentinels name another server by now.
    #[error("Redis has another primary")]
    Replaced,
    /// Sentinels or nodes have named a server that everybody in its network can use.
    #[error("Redis is refused: {0} is on another machine, and there is neither a password nor TLS")]
    Open(RedisAddress),
    /// There is no thread for it.
    #[error("start a thread: {0}")]
    Thread(#[from] io::Error),
}

impl RedisError {
    /// After a power cut Redis starts with us: it takes no connections at first, and then refuses every script until it has
    /// read its data.
    fn is_not_up_yet(&self) -> bool {
        const LOADING: redis::ErrorKind = redis::ErrorKind::Server(redis::ServerErrorKind::BusyLoading);
        let Self::Connect(error) = self else { return false };
        // Its unix socket is not there yet.
        let no_socket = error.kind() == redis::ErrorKind::Io && error.to_string().contains("No such file");
        error.kind() == LOADING || error.is_connection_refusal() || no_socket
    }
}

/// A connection that is made again when it breaks.
#[derive(Debug)]
pub(super) struct ReconnectingConnection {
    shared: Arc<ReconnectShared>,
    thread: Option<JoinHandle<()>>,
}

struct ReconnectShared {
    current: Mutex<Option<MultiplexedConnection>>,
    /// A call failed: look at the server.
    call_failed: Notify,
    ended: Notify,
}

impl std::fmt::Debug for ReconnectShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReconnectShared").finish_non_exhaustive()
    }
}

impl ReconnectingConnection {
    /// Connects, and keeps connected until it is dropped.
    ///
    /// The first reply of each server goes to `server_info` before any call is made: how far its memory goes back.
    pub(super) fn open(redis: &config::Redis, server_info: Arc<ServerInfo>) -> Result<Self, RedisError> {
        let task = ReconnectTask {
            dialler: Dialler { redis: redis.clone() },
            server_info,
            ping: Scripts::new().ping,
            shared: Arc::new(ReconnectShared {
                current: Mutex::default(),
                call_failed: Notify::new(),
                ended: Notify::new(),
            }),
        };
        let shared = Arc::clone(&task.shared);
        let (first, outcome) = mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("hublatch-store".to_owned()).spawn(move || {
            runtime.block_on(async {
                match task.connect_first().await {
                    Ok(primary) => {
                        *task.shared.lock() = Some(primary.connection.clone());
                        let _opener_waits = first.send(Ok(()));
                        task.run(primary).await;
                    }
                    Err(error) => {
                        let _opener_waits = first.send(Err(error));
                    }
                }
            });
        })?;
        let connection = Self { shared, thread: Some(thread) };
        // The thread answers within its timeouts and the time to load.
        outcome.recv().map_err(|_| io::Error::other("the thread of the store ended"))??;
        Ok(connection)
    }

    /// Sends one script and waits for its reply.
    pub(super) async fn invoke(&self, invocation: &ScriptInvocation<'_>) -> Result<Vec<Value>, StoreError> {
        let current = self.shared.lock().clone();
        let Some(mut connection) = current else {
            return Err(StoreError::unavailable("Redis is not connected"));
        };
        invocation.invoke_async(&mut connection).await.map_err(|error: redis::RedisError| {
            self.shared.call_failed.notify_one();
            StoreError::unavailable(RedisError::Call(error))
        })
    }
}

impl Drop for ReconnectingConnection {
    fn drop(&mut self) {
        self.shared.ended.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told so itself.
            let _joined = thread.join();
        }
    }
}

impl ReconnectShared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        // Set and cloned only: no panic leaves it half done.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ReconnectTask {
    dialler: Dialler,
    server_info: Arc<ServerInfo>,
    ping: Script,
    shared: Arc<ReconnectShared>,
}

/// A server that was fit to keep tokens when it was last looked at.
pub(super) struct Primary {
    pub(super) address: RedisAddress,
    pub(super) connection: MultiplexedConnection,
    pub(super) server: ServerReport,
}

impl ReconnectTask {
    /// Whoever opens the store waits for it.
    async fn connect_first(&self) -> Result<Primary, RedisError> {
        let bound = self.dialler.redis.loading_timeout;
        match self.connect().await {
            Err(error) if error.is_not_up_yet() && !bound.is_zero() => {
                tracing::warn!(%error, ?bound, "token store: Redis is not up yet; waiting until it is");
                let mut last = error;
                let up = async {
                    let mut pause = PAUSE_FIRST;
                    loop {
                        tokio::time::sleep(pause).await;
                        match self.connect().await {
                            Err(error) if error.is_not_up_yet() => last = error,
                            done => return done,
                        }
                        pause = (pause * 2).min(PAUSE_MAX);
                    }
                };
                let up = tokio::time::timeout(bound, up).await;
                up.unwrap_or_else(|_elapsed| Err(RedisError::NotUp { after: bound, last: Box::new(last) }))
            }
            done => done,
        }
    }

    async fn connect(&self) -> Result<Primary, RedisError> {
        let mut primary = self.dialler.primary().await?;
        let ping = self.ping.key(&self.dialler.redis.prefix);
        let answer: Vec<Value> = ping.invoke_async(&mut primary.connection).await?;
        self.server_info.read(answer).map_err(RedisError::Answer)?;
        let (address, server) = (&primary.address, &primary.server);
        tracing::info!(%address, version = server.version, "token store: connected to Redis");
        if !server.append_only {
            tracing::warn!(
                "token store: Redis keeps no append-only file; after its restart nothing is known of earlier links"
            );
        }
        Ok(primary)
    }

    async fn run(&self, first: Primary) {
        let mut primary = first;
        loop {
            *self.shared.lock() = Some(primary.connection.clone());
            let why = tokio::select! {
                () = self.shared.ended.notified() => return,
                why = self.watch(&mut primary) => why,
            };
            *self.shared.lock() = None;
            tracing::error!(address = %primary.address, error = %why, "token store: Redis is lost");
            primary = tokio::select! {
                () = self.shared.ended.notified() => return,
                primary = self.connect_again() => primary,
            };
        }
    }

    /// Ends when the server is gone, no longer fit or no longer the primary.
    async fn watch(&self, primary: &mut Primary) -> RedisError {
        loop {
            // Either way the server is looked at: the pause is over, or a call has failed.
            let _pause_over = tokio::time::timeout(HEARTBEAT, self.shared.call_failed.notified()).await;
            if let Err(why) = self.dialler.look(&mut primary.connection).await {
                return why;
            }
            if !self.dialler.may_still_be(&primary.address).await {
                return RedisError::Replaced;
            }
        }
    }

    async fn connect_again(&self) -> Primary {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.connect().await {
                Ok(primary) => return primary,
                Err(error) => tracing::warn!(%error, ?pause, "token store: no Redis yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

impl Dialler {
    /// The first of the candidates that is fit; else, why the likeliest is not.
    pub(super) async fn primary(&self) -> Result<Primary, RedisError> {
        let mut first = None;
        for address in self.candidates().await? {
            match self.fit(address).await {
                Ok(primary) => return Ok(primary),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_else(|| RedisError::NoPrimary("none is named".to_owned())))
    }

    async fn fit(&self, address: RedisAddress) -> Result<Primary, RedisError> {
        if address.is_open() && self.redis.password.is_none() {
            return Err(RedisError::Open(address));
        }
        let mut connection = self.redis(&address).await?;
        let server = self.look(&mut connection).await?;
        Ok(Primary { address, connection, server })
    }

    async fn look(&self, connection: &mut MultiplexedConnection) -> Result<ServerReport, RedisError> {
        let info: String = redis::cmd("INFO").query_async(connection).await?;
        let is_cluster = matches!(self.redis.servers, RedisServers::Cluster(_));
        let server = ServerReport::judge(&info, is_cluster)?;
        if is_cluster {
            // A node refuses if it does not hold our slot (any more), or is cut off from the cluster.
            let epoch = format!("{}e", self.redis.prefix);
            let _epoch: Value = redis::cmd("GET").arg(epoch).query_async(connection).await?;
        }
        Ok(server)
    }
}
