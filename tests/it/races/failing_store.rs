//! A store that fails, or that loses the answer to a take: nobody is logged in by it.

use std::sync::Arc;

use hublatch::audit::Client;
use hublatch::login::{RedeemRequest, Refusal};

use crate::support::faulty_store::{At, Fault, FaultyStore};
use crate::support::proxy::standing_clock;
use crate::used_links::rules::{block_on, issue, service};

#[test]
fn a_store_that_fails_never_makes_anybody_a_verified_user() {
    for (fault, takes) in [
        (None, 1),
        (Some((At::Each("find"), Fault::Fails)), 0),
        (Some((At::Each("consume"), Fault::Fails)), 1),
        (Some((At::Each("consume"), Fault::LosesAnswer)), 1),
    ] {
        let store = Arc::new(FaultyStore::new());
        let login = service(&store, &standing_clock(), "name = \"portal\"", "");
        let token = issue(&login, "alice", None);
        let what = format!("{fault:?}");
        let is_sound = fault.is_none();
        if let Some((at, fault)) = fault {
            store.arm(at, fault);
        }
        let outcome = block_on(async {
            let offer = login.redeemer.validate_opaque(&token, RedeemRequest::default()).await?;
            login.redeemer.consume(offer, Client::default()).await
        });
        if is_sound {
            assert_eq!(outcome.expect("the one success").username().as_str(), "alice");
        } else {
            assert!(matches!(outcome, Err(Refusal::Store(_))), "{what}: {outcome:?}");
        }
        // A take is never tried again: the first may have succeeded.
        assert_eq!(store.calls().iter().filter(|call| **call == "consume").count(), takes, "{what}");
    }
}

#[test]
fn a_token_whose_take_was_not_answered_is_gone_if_it_was_taken_and_good_if_it_was_not() {
    for (fault, good) in [(Fault::Fails, true), (Fault::LosesAnswer, false)] {
        let store = Arc::new(FaultyStore::new());
        let login = service(&store, &standing_clock(), "name = \"portal\"", "");
        let token = issue(&login, "alice", None);
        let offer = block_on(login.redeemer.validate_opaque(&token, RedeemRequest::default()))
            .expect("a pending link");
        store.arm(At::Each("consume"), fault);
        assert!(block_on(login.redeemer.consume(offer, Client::default())).is_err(), "good: {good}");
        store.heal();
        let outcome = block_on(login.redeemer.validate_opaque(&token, RedeemRequest::default()));
        assert_eq!(outcome.is_ok(), good, "{outcome:?}");
    }
}
