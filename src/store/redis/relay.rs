//! The word between replicas: three keys with a short life.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::{FromRedisValue as _, Value};

use super::super::StoreFuture;
use super::super::relay::{Relay, SealedAnswer, Seen};
use super::reply::damaged;
use super::{RedisStore, digest_text};
use crate::token::TokenDigest;

impl Relay for RedisStore {
    fn begin(&self, digest: TokenDigest, life: Duration) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.call(&self.scripts.begin, &[digest_text(digest), millis(life)]).await.map(|_| ())
        })
    }

    fn end(&self, digest: TokenDigest, left: Option<SealedAnswer>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut arguments = vec![digest_text(digest)];
            if let Some(SealedAnswer { name, sealed, life }) = left {
                arguments.extend([name_text(name), sealed, millis(life)]);
            }
            self.call(&self.scripts.end, &arguments).await.map(|_| ())
        })
    }

    fn ask(&self, digest: TokenDigest, name: [u8; 32], life: Duration) -> StoreFuture<'_, Seen> {
        Box::pin(async move {
            let arguments = [digest_text(digest), name_text(name), millis(life)];
            let answer = self.call(&self.scripts.ask, &arguments).await?;
            let [under_way, sealed] = <[Value; 2]>::try_from(answer).map_err(|_| damaged())?;
            Ok(Seen {
                under_way: bool::from_redis_value(under_way).map_err(|_| damaged())?,
                sealed: Option::<Vec<u8>>::from_redis_value(sealed).map_err(|_| damaged())?,
            })
        })
    }

    fn is_asked_for(&self, name: [u8; 32]) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let answer = self.call(&self.scripts.asked, &[name_text(name)]).await?;
            let [asked] = <[Value; 1]>::try_from(answer).map_err(|_| damaged())?;
            bool::from_redis_value(asked).map_err(|_| damaged())
        })
    }
}

fn millis(span: Duration) -> Vec<u8> {
    span.as_millis().to_string().into_bytes()
}

fn name_text(name: [u8; 32]) -> Vec<u8> {
    URL_SAFE_NO_PAD.encode(name).into_bytes()
}
