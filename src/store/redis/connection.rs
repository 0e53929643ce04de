//! The connection to Redis: kept by a thread of its own, for whichever thread calls.
//!
//! A call goes out on the present connection or fails at once; it is never sent twice, because a take whose answer was
//! lost may have happened. After an error the server is looked at again, and connected to again if need be.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    ScriptInvocation, TlsCertificates, Value,
};
use tokio::sync::Notify;

use super::super::StoreError;
use super::server::{Server, ServerError};
use crate::config::{self, RedisAddress};

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
    /// There is no thread for it.
    #[error("start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A connection that is made again when it breaks.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    present: Mutex<Option<MultiplexedConnection>>,
    /// A call failed: look at the server.
    doubted: Notify,
    ended: Notify,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, and keeps connected until it is dropped.
    pub(super) fn open(redis: &config::Redis) -> Result<Self, RedisError> {
        let keeper = Keeper {
            client: client(redis)?,
            timeout: redis.timeout,
            shared: Arc::new(Shared {
                present: Mutex::default(),
                doubted: Notify::new(),
                ended: Notify::new(),
            }),
        };
        let shared = Arc::clone(&keeper.shared);
        let (first, outcome) = mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keeper = std::thread::Builder::new().name("hublatch-store".to_owned()).spawn(move || {
            runtime.block_on(async {
                match keeper.connect().await {
                    Ok(connection) => {
                        *keeper.shared.lock() = Some(connection.clone());
                        let _opener_waits = first.send(Ok(()));
                        keeper.keep(connection).await;
                    }
                    Err(error) => {
                        let _opener_waits = first.send(Err(error));
                    }
                }
            });
        })?;
        let connection = Self { shared, keeper: Some(keeper) };
        // The thread answers within its timeouts.
        outcome.recv().map_err(|_| io::Error::other("the thread of the store ended"))??;
        Ok(connection)
    }

    /// Sends one script and waits for its answer.
    pub(super) async fn invoke(&self, invocation: &ScriptInvocation<'_>) -> Result<Vec<Value>, StoreError> {
        let present = self.shared.lock().clone();
        let Some(mut connection) = present else {
            return Err(StoreError::Unavailable("Redis is not connected".to_owned()));
        };
        invocation.invoke_async(&mut connection).await.map_err(|error: redis::RedisError| {
            self.shared.doubted.notify_one();
            StoreError::Unavailable(format!("Redis: {error}"))
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.ended.notify_one();
        if let Some(keeper) = self.keeper.take() {
            // A thread that panicked has told so itself.
            let _joined = keeper.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<MultiplexedConnection>> {
        // Set and cloned only: no panic leaves it half done.
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Keeper {
    client: Client,
    timeout: Duration,
    shared: Arc<Shared>,
}

impl Keeper {
    /// A connection to a server that is fit to keep tokens.
    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let server = look(&mut connection).await?;
        tracing::info!(version = server.version, "token store: connected to Redis");
        if !server.append_only {
            tracing::warn!(
                "token store: Redis keeps no append-only file; links that were not used yet do not survive its restart"
            );
        }
        Ok(connection)
    }

    async fn keep(&self, first: MultiplexedConnection) {
        let mut connection = first;
        loop {
            *self.shared.lock() = Some(connection.clone());
            let why = tokio::select! {
                () = self.shared.ended.notified() => return,
                why = self.watch(&mut connection) => why,
            };
            *self.shared.lock() = None;
            tracing::error!(error = %why, "token store: Redis is lost");
            connection = tokio::select! {
                () = self.shared.ended.notified() => return,
                connection = self.connect_again() => connection,
            };
        }
    }

    /// Ends when the server is gone or no longer fit.
    async fn watch(&self, connection: &mut MultiplexedConnection) -> RedisError {
        loop {
            // Either way the server is looked at: the pause is over, or a call has failed.
            let _pause_over = tokio::time::timeout(HEARTBEAT, self.shared.doubted.notified()).await;
            if let Err(why) = look(connection).await {
                return why;
            }
        }
    }

    async fn connect_again(&self) -> MultiplexedConnection {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.connect().await {
                Ok(connection) => return connection,
                Err(error) => tracing::warn!(%error, ?pause, "token store: no Redis yet"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

async fn look(connection: &mut MultiplexedConnection) -> Result<Server, RedisError> {
    let info: String = redis::cmd("INFO").query_async(connection).await?;
    Ok(Server::judge(&info)?)
}

fn client(redis: &config::Redis) -> Result<Client, redis::RedisError> {
    let address = match &redis.address {
        RedisAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisAddress::Tls { host, port } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        RedisAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    let mut settings = RedisConnectionInfo::default().set_db(redis.database).set_skip_set_lib_name();
    if let Some(username) = &redis.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &redis.password {
        settings = settings.set_password(password.as_str());
    }
    let info = address.into_connection_info()?.set_redis_settings(settings);
    match (&redis.address, &redis.ca_pem) {
        (RedisAddress::Tls { .. }, Some(ca)) => {
            Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) })
        }
        (RedisAddress::Tls { .. } | RedisAddress::Tcp { .. } | RedisAddress::Unix(_), _) => {
            Client::open(info)
        }
    }
}
