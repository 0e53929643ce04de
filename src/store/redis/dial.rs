//! Connects to one server: a Redis, or a Sentinel with its own name and password.

use std::io;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use crate::config::{self, RedisAddress};
use crate::tls::{ClientRules, Roots, Secured, TlsError};

/// What every connection of this store needs.
#[derive(Debug, Clone)]
pub(super) struct Dialler {
    pub(super) redis: config::Redis,
}

impl Dialler {
    /// A connection to a server that keeps links.
    pub(super) async fn redis(
        &self,
        address: &RedisAddress,
    ) -> Result<MultiplexedConnection, redis::RedisError> {
        let settings = login(self.redis.username.as_deref(), self.redis.password.as_ref());
        self.dial(address, settings.set_db(self.redis.database)).await
    }

    /// A connection to a Sentinel.
    pub(super) async fn sentinel(
        &self,
        address: &RedisAddress,
    ) -> Result<MultiplexedConnection, redis::RedisError> {
        let settings = login(self.redis.sentinel_username.as_deref(), self.redis.sentinel_password.as_ref());
        self.dial(address, settings).await
    }

    /// A connection to hear messages on.
    pub(super) async fn messages(&self, address: &RedisAddress) -> Result<PubSub, redis::RedisError> {
        let settings = login(self.redis.username.as_deref(), self.redis.password.as_ref());
        if let Some(stream) = self.secured(address).await? {
            return self.in_time(PubSub::new(&settings, stream)).await;
        }
        self.in_time(client(address, settings)?.get_async_pubsub()).await
    }

    async fn dial(
        &self,
        address: &RedisAddress,
        settings: RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, redis::RedisError> {
        let timeout = Some(self.redis.timeout);
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(timeout).set_response_timeout(timeout);
        if let Some(stream) = self.secured(address).await? {
            let opening = MultiplexedConnection::new_with_config(&settings, stream, config);
            let (connection, driver) = self.in_time(opening).await?;
            // It ends with the last clone of the connection, as that which the crate starts for its own streams.
            #[expect(clippy::disallowed_methods, reason = "a drain needs it to the end")]
            tokio::spawn(driver);
            return Ok(connection);
        }
        client(address, settings)?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A stream over TLS, if that is spoken by the certificates of `store.ca_file`: the crate would refuse a server whose
    /// certificate is one of them itself.
    async fn secured(&self, address: &RedisAddress) -> Result<Option<Secured<TcpStream>>, redis::RedisError> {
        let (RedisAddress::Tls { host, port }, Some(pem)) = (address, &self.redis.ca_pem) else {
            return Ok(None);
        };
        let rules = Roots::from_pem(pem).and_then(|roots| ClientRules::new(roots, None));
        let unusable = |error: TlsError| io::Error::other(format!("store.ca_file: {error}"));
        let connector = rules.and_then(|rules| rules.to(host)).map_err(unusable)?.speaking_no_http();
        let connecting = async {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            Ok(connector.connect(stream).await?)
        };
        self.in_time(connecting).await.map(Some)
    }

    /// What takes no longer than `store.timeout`.
    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, redis::RedisError>>,
    ) -> Result<T, redis::RedisError> {
        let done = tokio::time::timeout(self.redis.timeout, call).await;
        done.unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}

fn client(address: &RedisAddress, settings: RedisConnectionInfo) -> Result<Client, redis::RedisError> {
    Client::open(connection_address(address).into_connection_info()?.set_redis_settings(settings))
}

fn login(username: Option<&str>, password: Option<&Zeroizing<String>>) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.as_str());
    }
    settings
}

fn connection_address(address: &RedisAddress) -> ConnectionAddr {
    match address {
        RedisAddress::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisAddress::Tls { host, port } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        RedisAddress::Unix(path) => ConnectionAddr::Unix(path.clone()),
    }
}
