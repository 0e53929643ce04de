//! A store that is down.

use hublatch::clock::Moment;
use hublatch::store::{
    Consumed, IdempotencyKey, Inserted, Link, Revoked, StoreError, StoreFuture, TokenStore,
};
use hublatch::token::{LinkId, TokenDigest, Username};

/// Answers everything with an error.
#[derive(Debug)]
pub struct BrokenStore;

fn down<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::unavailable("connection refused"))))
}

impl TokenStore for BrokenStore {
    fn insert(&self, _: Vec<Link>, _: Option<IdempotencyKey>, _: Moment) -> StoreFuture<'_, Inserted> {
        down()
    }
    fn find(&self, _: TokenDigest, _: Moment) -> StoreFuture<'_, Option<Link>> {
        down()
    }
    fn consume(&self, _: TokenDigest, _: Moment) -> StoreFuture<'_, Consumed> {
        down()
    }
    fn reserve(&self, _: TokenDigest, _: Moment, _: Moment) -> StoreFuture<'_, bool> {
        down()
    }
    fn get<'a>(&'a self, _: &'a LinkId, _: &'a str, _: Moment) -> StoreFuture<'a, Option<Link>> {
        down()
    }
    fn revoke<'a>(&'a self, _: &'a LinkId, _: &'a str, _: Moment) -> StoreFuture<'a, Revoked> {
        down()
    }
    fn revoke_user<'a>(&'a self, _: &'a Username, _: &'a str, _: Moment) -> StoreFuture<'a, usize> {
        down()
    }
    fn ping(&self) -> StoreFuture<'_, ()> {
        down()
    }
    fn live(&self, _: Moment) -> usize {
        0
    }
}
