//! Two replicas with one store: of all who redeem one signed token, one is admitted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use aws_lc_rs::rand::SystemRandom;
use hublatch::audit::Audit;
use hublatch::clock::{Clock, ManualClock};
use hublatch::config::{Config, load_str};
use hublatch::hub::HubClient;
use hublatch::login::{LoginDependencies, LoginServices, RedeemRequest, Refusal, RefusalReason};
use hublatch::metrics::Metrics;
use hublatch::store::{MemoryStore, TokenStore};
use serde_json::json;

use super::signer::{AUDIENCE, ISSUER, Signer, claims};
use crate::support::proxy::standing_clock;

const TOKENS: usize = 200;
const REDEEMERS: usize = 8;

fn replica(config: &Config, store: &Arc<dyn TokenStore>, clock: &Arc<ManualClock>) -> LoginServices {
    let hub = Arc::new(HubClient::new(config, Arc::default()).expect("a client"));
    let dependencies = LoginDependencies::new(
        Arc::clone(store),
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::new(SystemRandom::new()),
        Arc::new(Audit::new(Box::new(std::io::sink()), false, Metrics::new().audit_records_lost.clone())),
        Arc::new(Metrics::new()),
    );
    LoginServices::new(config, hub, dependencies).expect("a service")
}

fn config(signer: &Signer) -> Config {
    let files = tempfile::tempdir().expect("a directory");
    let path = files.path().join("portal.pem");
    std::fs::write(&path, &signer.pem).expect("write");
    let text = format!(
        "[public]\nurl = \"http://hub.test\"\n[hub]\nurl = \"http://127.0.0.1:8400\"\n[[apps]]\nname = \"portal\"\n\
         jwt = {{ issuer = {ISSUER:?}, audience = {AUDIENCE:?}, public_key_file = {path:?} }}\n"
    );
    load_str(&text, std::path::Path::new("hublatch.toml"), []).expect("a configuration without a key")
}

/// Whether the token admitted this caller.
async fn redeem(service: &LoginServices, token: &str) -> bool {
    let token = service.redeemer.parse(token).expect("a token");
    let refusal = match service.redeemer.validate(&token, RedeemRequest::default()).await {
        Ok(offer) => match service.redeemer.consume(offer, hublatch::audit::Client::default()).await {
            Ok(_user) => return true,
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    assert!(matches!(refusal, Refusal::Link { reason: RefusalReason::Used, .. }), "{refusal}");
    false
}

#[test]
fn each_token_admits_one_of_many_redeemers_at_two_replicas() {
    let signer = Signer::ed25519();
    let config = config(&signer);
    let clock = standing_clock();
    // Under pressure: records of links that have ended are dropped early, those of burnt tokens are not.
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::new(TOKENS));
    let replicas = [replica(&config, &store, &clock), replica(&config, &store, &clock)];
    clock.advance(std::time::Duration::from_secs(10));
    let now = clock.now().wall.as_second();
    let tokens: Vec<String> = (0..TOKENS).map(|_| signer.sign(&claims(now, &json!({})))).collect();
    let admitted: Vec<AtomicUsize> = (0..TOKENS).map(|_| AtomicUsize::new(0)).collect();
    let start = Barrier::new(REDEEMERS);
    std::thread::scope(|scope| {
        for number in 0..REDEEMERS {
            let (service, tokens, admitted, start) = (&replicas[number % 2], &tokens, &admitted, &start);
            scope.spawn(move || {
                start.wait();
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                for (token, admitted) in tokens.iter().zip(admitted) {
                    if runtime.block_on(redeem(service, token)) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let counts: Vec<usize> = admitted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(counts, vec![1; TOKENS]);
}

#[test]
fn a_full_store_admits_nobody_and_forgets_no_burnt_token() {
    let signer = Signer::ed25519();
    let config = config(&signer);
    let clock = standing_clock();
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::new(3));
    let service = replica(&config, &store, &clock);
    clock.advance(std::time::Duration::from_secs(10));
    let now = clock.now().wall.as_second();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tokens: Vec<String> = (0..4).map(|_| signer.sign(&claims(now, &json!({})))).collect();
    for token in &tokens[..3] {
        assert!(runtime.block_on(redeem(&service, token)));
    }
    let last = service.redeemer.parse(&tokens[3]).expect("a token");
    let offer =
        runtime.block_on(service.redeemer.validate(&last, RedeemRequest::default())).expect("an offer");
    let refusal = runtime
        .block_on(service.redeemer.consume(offer, hublatch::audit::Client::default()))
        .expect_err("there is no room");
    assert!(matches!(refusal, Refusal::Store(_)), "{refusal}");
    for token in &tokens[..3] {
        assert!(!runtime.block_on(redeem(&service, token)));
    }
    // A click that came in time may wait for its turn for ten minutes: so long each is remembered.
    clock.advance(std::time::Duration::from_secs(700));
    let fresh = signer.sign(&claims(now + 700, &json!({})));
    assert!(runtime.block_on(redeem(&service, &fresh)), "what is over makes room");
}

#[test]
fn a_token_that_was_clicked_in_time_admits_once_after_its_life_and_nobody_who_comes_late() {
    let signer = Signer::ed25519();
    let (config, clock) = (config(&signer), standing_clock());
    let store: Arc<dyn TokenStore> = Arc::new(MemoryStore::new(3));
    let service = replica(&config, &store, &clock);
    clock.advance(std::time::Duration::from_secs(10));
    let clicked = clock.now().wall;
    let text = signer.sign(&claims(clicked.as_second(), &json!({})));
    let token = service.redeemer.parse(&text).expect("a token");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let redeem = |clicked_at| {
        runtime.block_on(async {
            let request = RedeemRequest { clicked_at, ..RedeemRequest::default() };
            match service.redeemer.validate(&token, request).await {
                Ok(token) => {
                    service.redeemer.consume(token, hublatch::audit::Client::default()).await.is_ok()
                }
                Err(_) => false,
            }
        })
    };
    clock.advance(std::time::Duration::from_secs(300));
    assert!(!redeem(None), "its life is over");
    assert!(redeem(Some(clicked)), "it waited for its turn");
    for _ in 0..6 {
        assert!(!redeem(Some(clicked)), "once");
        clock.advance(std::time::Duration::from_secs(50));
    }
}
