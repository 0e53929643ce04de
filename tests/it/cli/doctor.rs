//! `hublatch doctor` against a hublatch and a hub in this process: each finding as it should be and as it should not.

mod deployment;
mod login;
mod routing;

use std::fs;

use serde_json::{Value, json};

use crate::support::hub::{absent, free_port};
use crate::support::{FakeHub, Wire};
use deployment::Deployment;

#[test]
fn a_sound_deployment_is_told_to_be_one() {
    let deployment = Deployment::new();
    let findings = deployment.doctor(&["--user", "doctor"]);
    for (about, words) in [
        ("hub.url", "JupyterHub 6.1.1"),
        ("GET /hub/login as hublatch-doctor-", "by HublatchAuthenticator"),
        ("GET /hub/login as doctor", "by HublatchAuthenticator"),
        ("another key", "by HublatchAuthenticator"),
        ("an identity header through", "stripped"),
        ("GET /ready", "ready"),
        ("the management API from outside", "not there"),
        ("public.url (", "leads to hublatch"),
        ("a WebSocket", "reaches the hub"),
        ("a login by a link for doctor", "as this user"),
        ("the same link once more", "403"),
        ("the logout of doctor", "200 OK"),
        ("the configuration /", "is valid"),
    ] {
        findings.assert(about, "ok", words);
    }
    findings.assert("the hub's session cookies", "skipped", "public.url is http");
    findings.assert("the role of hub.api_token", "skipped", "there is no hub.api_token");
    assert_eq!(findings.code, Some(0), "{:#?}", findings.list);
    // Logged in once, and out again.
    assert_eq!(deployment.hub.seen_at("/hub/logout").iter().filter(|seen| seen.method == "GET").count(), 1);
}

#[test]
fn the_findings_are_one_line_each_and_hold_no_secret() {
    let deployment = Deployment::new();
    let outcome = deployment.outcome(&["--user", "doctor"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{}", outcome.stdout);
    for line in outcome.stdout.lines() {
        let grade = line.split(' ').next().unwrap_or_default();
        assert!(["ok", "warn", "unsafe", "failed", "skipped"].contains(&grade), "{line}");
        assert!(line.contains(" - "), "{line}");
    }
    assert!(
        !outcome.stdout.contains(deployment.proxy.key()) && !outcome.stdout.contains("hl_"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_hub_that_believes_an_identity_without_our_proof_is_unsafe() {
    let deployment = Deployment::new();
    deployment.hub.accounts(|accounts| accounts.proof = None);
    deployment.hub.otherwise(|exchange| {
        let is_tokens = exchange.seen.path().ends_with("/tokens") && exchange.seen.method == "POST";
        exchange.answer(if is_tokens { "201 Created" } else { "404 Not Found" }, r#"{"token":"x"}"#)
    });
    let findings = deployment.doctor(&[]);
    findings.assert("GET /hub/login as hublatch-doctor-", "unsafe", "logged hublatch-doctor-");
    findings.assert("for an API token", "unsafe", "anybody's");
    findings.assert("another key", "unsafe", "it was believed");
    findings.assert("an identity header through", "ok", "stripped");
}

#[test]
fn a_refusal_that_an_allow_list_could_have_made_is_no_proof() {
    let deployment = Deployment::new();
    deployment.hub.accounts(|accounts| accounts.speaks = false);
    with_handler(&deployment, "");
    let findings = deployment.doctor(&[]);
    findings.assert("GET /hub/login as hublatch-doctor-", "warn", "--user");
    findings.assert("another key", "warn", "is it in use?");
    assert_eq!(findings.code, Some(0));
}

/// The hub's side answers a call that ends sessions, without a proof.
fn with_handler(deployment: &Deployment, more: &'static str) {
    deployment.hub.on("/hub/hublatch/sessions", move |exchange| {
        let said = json!({ "status": 403, "message": "the assertion is not good; the hub's log says why" });
        exchange.answer(&format!("403 Forbidden{more}"), said.to_string())
    });
}

#[test]
fn an_authenticator_that_is_not_loaded_is_a_failure_whatever_the_hub_answers_to_a_login() {
    let deployment = Deployment::new();
    for answer in
        ["200 OK", "403 Forbidden", "401 Unauthorized", "302 Found\r\nLocation: https://idp.example/"]
    {
        deployment.hub.reply("/hub/login", format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"));
        let findings = deployment.doctor(&[]);
        findings.assert("another key", "failed", "it is not loaded");
        findings.assert("another key", "failed", "authenticator_class");
        assert_eq!(findings.code, Some(1), "{answer}");
    }
}

#[test]
fn a_hub_whose_own_oauth_login_leads_elsewhere_is_a_failure() {
    let deployment = Deployment::new();
    let assertion = format!("[assertion]\nkey = {}", deployment.key_pem);
    let provider = "[hub_oauth]\nclient_secret = \"0123456789abcdef0123456789abcdef\"\ninsecure = true\n\
                    redirect_uri = \"http://hub.test/hub/oauth_callback\"\nissuer = \"http://127.0.0.1:9\"";
    let text = fs::read_to_string(deployment.file()).unwrap().replace(&assertion, provider);
    fs::write(deployment.file(), text).unwrap();
    let about = "the hub's own OAuth login";
    let leads_to = |location: &str| {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        deployment.hub.reply("/hub/oauth_login", head);
        deployment.doctor(&[])
    };
    let good = "http://127.0.0.1:9/hub-oauth/authorize?client_id=hublatch&code_challenge=x\
                &redirect_uri=http%3A%2F%2Fhub.test%2Fhub%2Foauth_callback";
    leads_to(good).assert(about, "ok", "leads to hublatch");
    for (location, words) in [
        (good.replace("127.0.0.1:9", "idp.example"), "authorize_url"),
        (good.replace("=hublatch", "=other"), "client_id"),
        (good.replace("hub.test", "other.test"), "oauth_callback_url"),
        (good.replace("code_challenge", "x"), "enable_pkce"),
    ] {
        leads_to(&location).assert(about, "failed", words);
    }
    deployment.hub.reply("/hub/oauth_login", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    deployment.doctor(&[]).assert(about, "failed", "no OAuthenticator is in use");
}

#[test]
fn the_version_of_the_authenticator_is_told_where_it_tells_it() {
    let deployment = Deployment::new();
    with_handler(&deployment, "\r\nX-Hublatch-Authenticator: 9.8.7");
    deployment.doctor(&[]).assert("another key", "ok", "by HublatchAuthenticator 9.8.7");
}

#[test]
fn what_is_wrong_with_the_hub_is_named() {
    let deployment = Deployment::new();
    // The date is that of the answer: the doctor may take seconds to ask.
    let answer = |apart: i64, version: &'static str| {
        deployment.hub.on("/hub/api/", move |exchange| {
            let now = hublatch::clock::Clock::now(&hublatch::clock::SystemClock::new()).wall;
            let date = now + jiff::SignedDuration::from_secs(apart);
            let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
            exchange.answer(&format!("200 OK\r\nDate: {date}"), json!({ "version": version }).to_string())
        });
    };
    answer(0, "6.1.1");
    deployment.doctor(&[]).assert("the hub's clock", "ok", "one second");
    for (apart, version, grade) in [(-60, "6.1.1", "failed"), (60, "3.0.0", "failed"), (4, "6.1.1", "warn")] {
        answer(apart, version);
        let findings = deployment.doctor(&[]);
        findings.assert("the hub's clock", grade, "NTP");
        let old = version.starts_with('3');
        findings.assert("the hub at hub.url", if old { "warn" } else { "ok" }, version);
    }
    deployment.hub.reply("/hub/api/", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>");
    deployment.doctor(&[]).assert("the hub at hub.url", "failed", "hub.base_url");
    deployment.hub.reply("/hub/api/", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    deployment.doctor(&[]).assert("the hub at hub.url", "failed", "hub.base_url");
    deployment.hub.reply("/hub/api/", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    deployment.doctor(&[]).assert("the hub at hub.url", "failed", "start the hub: it does not run");
    let (_held, url) = absent();
    deployment.write(&format!("url = \"{url}\""), "", "");
    let findings = deployment.doctor(&[]);
    findings.assert("the hub at hub.url", "failed", "start the hub");
    findings.assert("an identity without a proof", "skipped", "the hub does not answer");
}

#[test]
fn routes_that_a_hub_in_api_only_mode_lacks_are_named() {
    let deployment = Deployment::new();
    for path in ["/hub/login", "/hub/logout"] {
        deployment.hub.reply(path, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        deployment.doctor(&[]).assert(&format!("the route of {path}"), "failed", "extra_routes");
    }
}

#[test]
fn a_key_of_the_hubs_that_is_not_ours_is_named() {
    let deployment = Deployment::new();
    deployment.doctor(&[]).assert("key pair", "skipped", "--public-key");
    let own =
        rcgen::KeyPair::from_pem(&serde_json::from_str::<String>(&deployment.key_pem).unwrap()).unwrap();
    let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let file = deployment.dir.path().join("assertion.pub.pem");
    fs::write(&file, format!("{}{}", other.public_key_pem(), own.public_key_pem())).unwrap();
    deployment.doctor(&[]).assert("key pair", "ok", "public half");
    fs::write(&file, other.public_key_pem()).unwrap();
    deployment.doctor(&[]).assert("key pair", "failed", "another key");
    deployment.doctor(&["--public-key", "/nowhere"]).assert("key pair", "failed", "/nowhere");
}

#[test]
fn a_hublatch_that_does_not_run_or_runs_otherwise_is_named() {
    let deployment = Deployment::new();
    deployment.write_with(deployment.proxy.origin(), &format!("127.0.0.1:{}", free_port()), "", "", "");
    deployment.doctor(&[]).assert("GET /ready", "failed", "start hublatch");
    deployment.write("", "[store]\nurl = \"redb:///nowhere/tokens.redb\"", "");
    deployment.doctor(&[]).assert("against this configuration", "warn", "store");
}

#[test]
fn limits_that_may_take_more_than_the_running_hublatch_may_open_are_told() {
    let deployment = Deployment::new();
    let about = "open files of the running hublatch";
    deployment.write("", "[limits]\nconnections = 1\ntunnels = 1\nupstream_connections = 1", "");
    deployment.doctor(&[]).assert(about, "ok", "its limits may take 259");
    let (short, more) = (FakeHub::start(), "[limits]\nconnections = 20000");
    for (path, body) in
        [("/metrics", "process_max_fds 1024\n# EOF\n"), ("/api/v1/info", "{}"), ("/ready", "{}")]
    {
        short.reply(path, format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }
    deployment.write_with(deployment.proxy.origin(), &short.address().to_string(), "", more, "");
    let findings = deployment.doctor(&[]);
    findings.assert(about, "warn", "it may have 1024, but its limits may take 40256");
    findings.assert(about, "warn", "LimitNOFILE");
    assert_eq!(findings.code, Some(0), "it is no failure");
}

#[test]
fn a_public_url_that_leads_elsewhere_is_named() {
    let deployment = Deployment::new();
    let management = deployment.proxy.management().to_string();
    // Straight to the hub, which believes anything: past hublatch.
    deployment.hub.accounts(|accounts| accounts.proof = None);
    deployment.write_with(&deployment.hub.url(), &management, "", "", "");
    let findings = deployment.doctor(&[]);
    findings.assert("public.url (", "failed", "something else");
    findings.assert("an identity header through", "unsafe", "past hublatch");
    // To what is for programs.
    deployment.write_with(&format!("http://{management}"), "127.0.0.1:1", "", "", "");
    deployment.doctor(&[]).assert("the management API from outside", "unsafe", "public.listen");
}

#[test]
fn a_public_url_where_nothing_listens_is_no_matter_of_certificates() {
    let deployment = Deployment::new();
    let (_held, url) = absent();
    for url in [url.replace("http:", "https:"), url] {
        deployment.write_with(&url, &deployment.proxy.management().to_string(), "", "", "");
        let ca = deployment.authority.ca_file();
        let findings = deployment.doctor(&["--user", "doctor", "--ca-file", ca.to_str().unwrap()]);
        findings.assert("public.url (", "failed", "Connection refused");
        findings.assert("public.url (", "failed", "lead to public.listen");
        findings.assert("a login by a link", "skipped", "public.url does not lead to hublatch");
        let about_certificates = |one: &&Value| one["tried"].as_str().unwrap().contains("certificate");
        assert_eq!(findings.list.iter().find(about_certificates), None, "{url}");
        assert_eq!(findings.failures(), 1, "one cause, one failure: {:#?}", findings.list);
    }
}

#[test]
fn a_public_url_whose_name_does_not_resolve_is_told_once() {
    let deployment = Deployment::new();
    // No name in the DNS has such a label (RFC 1035 § 2.3.4), so no server is asked for it.
    let url = format!("http://{}.invalid", "a".repeat(64));
    deployment.write_with(&url, &deployment.proxy.management().to_string(), "", "", "");
    let findings = deployment.doctor(&["--user", "doctor"]);
    findings.assert("public.url (", "failed", "failed to lookup address information");
    findings.assert("public.url (", "failed", "let its name resolve");
    findings.assert("a login by a link", "skipped", "public.url does not lead to hublatch");
    assert_eq!(findings.failures(), 1, "one cause, one failure: {:#?}", findings.list);
}

#[test]
fn a_front_that_takes_upgrades_away_is_named() {
    let deployment = Deployment::new();
    let (front, behind) = (FakeHub::start(), deployment.proxy.address());
    // Both go by another name here than by the public one; in one deployment it is the same.
    let (front_host, host) = (front.address().to_string(), deployment.proxy.host().to_owned());
    let pass = move |exchange: &mut crate::support::Exchange<'_>| {
        let head = String::from_utf8_lossy(&exchange.seen.head).replace(&front_host, &host);
        let kept = head.split_inclusive("\r\n").filter(|line| {
            let line = line.to_ascii_lowercase();
            !line.starts_with("upgrade:") && !line.starts_with("connection:")
        });
        let request: String = kept.collect();
        let answer = Wire::connect(behind).ask(request);
        let (status, text) = (answer.status, answer.text());
        exchange.answer(&format!("{status} As behind\r\nContent-Type: application/json"), text)
    };
    for path in ["/hub/login", "/hub/api/user", "/hub/logout", "/hub/api/"] {
        front.on(path, pass.clone());
    }
    deployment.write_with(&front.url(), &deployment.proxy.management().to_string(), "", "", "");
    deployment.doctor(&[]).assert("a WebSocket", "failed", "Upgrade");
}

#[test]
fn a_certificate_that_is_not_trusted_is_named_and_cookies_must_be_secure() {
    let deployment = Deployment::with(true);
    let ca = deployment.authority.ca_file();
    let trusting = ["--user", "doctor", "--ca-file", ca.to_str().unwrap()];
    let findings = deployment.doctor(&trusting);
    findings.assert("the certificate at public.url", "ok", "has the name");
    findings.assert("a login by a link for doctor", "ok", "as this user");
    findings.assert("the hub's session cookies", "unsafe", "jupyterhub-hub-login");
    deployment.hub.on("/hub/login", |exchange| {
        if !exchange.seen.headers.has("remote_user") || !exchange.seen.headers.has("x-hublatch-assertion") {
            return exchange.answer("403 Forbidden", "is entered by a link from your application");
        }
        let cookie = "Set-Cookie: jupyterhub-hub-login=doctor; Path=/hub/; HttpOnly; Secure";
        exchange.answer(&format!("302 Found\r\nLocation: /hub/home\r\n{cookie}"), "")
    });
    deployment.doctor(&trusting).assert("the hub's session cookies", "ok", "Secure");
    deployment.doctor(&[]).assert("the certificate at public.url", "failed", "--ca-file");
}

#[test]
fn a_login_that_fails_and_a_name_that_changes_are_named() {
    let deployment = Deployment::new();
    deployment.doctor(&["--user", "Alice"]).assert("a login by a link for Alice", "failed", "upper-case");
    deployment.hub.on("/hub/api/user", |exchange| match exchange.seen.headers.get("cookie") {
        Some(_) => exchange.answer("200 OK\r\nContent-Type: application/json", r#"{"name":"mallory"}"#),
        None => crate::redeem::nobody(exchange),
    });
    deployment.doctor(&["--user", "alice"]).assert("a login by a link for alice", "failed", "mallory");
}

#[test]
fn a_role_that_lacks_a_scope_is_told_with_the_scope() {
    let deployment = Deployment::new();
    let knows = |scopes: Value| {
        let model = json!({ "name": "hublatch", "kind": "service", "scopes": scopes }).to_string();
        deployment.hub.on("/hub/api/user", move |exchange| {
            match exchange.seen.headers.get("authorization") {
                Some("token secret-of-the-service" | "Bearer secret-of-the-service") => {
                    exchange.answer("200 OK\r\nContent-Type: application/json", &model)
                }
                _ => crate::redeem::nobody(exchange),
            }
        });
    };
    let token = "api_token = \"secret-of-the-service\"";
    deployment.write(token, "hub_tokens = { scopes = [\"access:servers!user\"] }", "");
    knows(json!(["tokens", "admin:users", "start:servers!group=x", "read:servers"]));
    let findings = deployment.doctor(&[]);
    findings.assert("for \"launch\"", "ok", "has admin:users");
    findings.assert("for the token exchange", "ok", "has tokens");
    knows(json!(["read:tokens", "start:servers"]));
    let findings = deployment.doctor(&[]);
    findings.assert("for \"launch\"", "warn", "admin:users, read:servers");
    findings.assert("for the token exchange", "failed", "load_roles: tokens");
    deployment.write("api_token = \"another\"", "", "");
    deployment.doctor(&[]).assert("the role of hub.api_token", "failed", "does not know this token");
}

#[test]
fn a_bad_configuration_is_78_as_everywhere() {
    let deployment = Deployment::new();
    fs::write(deployment.file(), "[public]\n").unwrap();
    assert_eq!(deployment.outcome(&[]).code, Some(78));
}
