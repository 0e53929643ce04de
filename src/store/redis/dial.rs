//! Connects to one server: a Redis, or a Sentinel with its own name and password.

use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo,
    TlsCertificates,
};
use zeroize::Zeroizing;

use crate::config::{self, RedisAddress};

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
        let connecting = self.client(address, settings)?;
        let connected = tokio::time::timeout(self.redis.timeout, connecting.get_async_pubsub()).await;
        connected.unwrap_or_else(|_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    async fn dial(
        &self,
        address: &RedisAddress,
        settings: RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, redis::RedisError> {
        let timeout: Duration = self.redis.timeout;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout));
        self.client(address, settings)?.get_multiplexed_async_connection_with_config(&config).await
    }

    fn client(
        &self,
        address: &RedisAddress,
        settings: RedisConnectionInfo,
    ) -> Result<Client, redis::RedisError> {
        let info = connection_address(address).into_connection_info()?.set_redis_settings(settings);
        match (address, &self.redis.ca_pem) {
            (RedisAddress::Tls { .. }, Some(ca)) => {
                let tls = TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) };
                Client::build_with_tls(info, tls)
            }
            (RedisAddress::Tls { .. } | RedisAddress::Tcp { .. } | RedisAddress::Unix(_), _) => {
                Client::open(info)
            }
        }
    }
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
