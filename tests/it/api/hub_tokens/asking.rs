//! How often the hub is asked whose a token is, and how long its word counts.

use super::*;

#[tokio::test]
async fn a_thousand_checks_of_one_token_cost_one_call() {
    let hub = hub();
    let gate = Arc::new(Gate::default());
    let waits = Arc::clone(&gate);
    hub.on("/hub/api/user", move |exchange| {
        waits.pass();
        exchange.answer("200 OK", owner(SERVICE).unwrap().to_string())
    });
    let api = api(&hub, LISTED);
    let verify = async || post("/api/v1/verify").json(&json!({"token": SERVICE})).send(&api).await.status;
    let together = futures_util::future::join_all((0..500).map(|_| verify()));
    let opens = async {
        // All of them are under way before the hub answers the first.
        while api.metrics.hub.token_checks.get() < 500 {
            tokio::task::yield_now().await;
        }
        gate.open();
    };
    let (statuses, ()) = tokio::join!(together, opens);
    assert!(statuses.into_iter().all(|status| status == 200));
    for _ in 0..500 {
        assert_eq!(get("/api/v1/forward-auth?service=issuer").key(SERVICE).send(&api).await.status, 200);
    }
    assert_eq!((asked(&hub), api.metrics.hub.token_checks.get()), (1, 1000));
}

#[tokio::test]
async fn a_request_that_goes_away_takes_nobodys_answer_with_it() {
    let hub = hub();
    let gate = Arc::new(Gate::default());
    let waits = Arc::clone(&gate);
    hub.on("/hub/api/user", move |exchange| {
        if exchange.earlier == 0 {
            waits.pass();
        }
        exchange.answer("200 OK", owner(SERVICE).unwrap().to_string())
    });
    let api = api(&hub, LISTED);
    let verify = async || post("/api/v1/verify").json(&json!({"token": SERVICE})).send(&api).await.status;
    let mut first = Box::pin(verify());
    while asked(&hub) < 1 {
        assert!(futures_util::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    let mut second = Box::pin(verify());
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!((second.await, asked(&hub)), (200, 2));
    gate.open();
}

#[tokio::test]
async fn a_token_that_is_revoked_at_the_hub_is_refused_within_cache_max_age() {
    for (lines, max_age) in [("", 300), ("cache_max_age = \"20s\"", 20)] {
        let hub = hub();
        let api = api(&hub, &format!("{LISTED}\n{lines}"));
        let verify = || post("/api/v1/verify").json(&json!({"token": SERVICE}));
        assert_eq!(verify().send(&api).await.status, 200);
        let no = json!({"status": 403, "message": null}).to_string();
        hub.on("/hub/api/user", move |exchange| exchange.answer("403 Forbidden", &no));
        api.clock.advance(Duration::from_secs(max_age - 1));
        assert_eq!(verify().send(&api).await.status, 200, "it is believed for so long");
        assert_eq!(asked(&hub), 1);
        api.clock.advance(Duration::from_secs(1));
        assert_eq!(verify().send(&api).await.status, 404);
        assert_eq!(post("/api/v1/links").key(SERVICE).json(&order()).send(&api).await.status, 401);
    }
    let hub = hub();
    let api = api(&hub, &format!("{LISTED}\ncache_max_age = \"0s\""));
    for _ in 0..3 {
        assert_eq!(get("/api/v1/forward-auth").key(ALICE).send(&api).await.status, 200);
    }
    assert_eq!(asked(&hub), 3);
}

#[tokio::test]
async fn a_refusal_is_not_kept() {
    let hub = hub();
    let api = api(&hub, LISTED);
    let no = json!({"status": 403, "message": null}).to_string();
    let page = "<html>down</html>";
    hub.on("/hub/api/user", move |exchange| match exchange.earlier {
        0 => exchange.answer("403 Forbidden", &no),
        1 => exchange.answer("503 Service Unavailable", page),
        _ => exchange.answer("200 OK", owner(SERVICE).unwrap().to_string()),
    });
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(post("/api/v1/links").key(SERVICE).json(&order()).send(&api).await.status);
    }
    assert_eq!((statuses, asked(&hub)), (vec![401, 503, 201, 201], 3));
}
