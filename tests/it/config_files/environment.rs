//! Variables over the file.

use super::*;

#[test]
fn a_variable_overrides_the_file_and_the_default() {
    let text = format!("{MINIMAL}\n[login]\nlifetime = \"20s\"\n");
    let variables = [
        ("HUBLATCH_LOGIN__LIFETIME", "1m"),
        ("HUBLATCH_PUBLIC__URL", "https://hub.example.org"),
        ("HUBLATCH_PUBLIC__LISTEN", "127.0.0.1:9000, unix:/run/hublatch/public.sock"),
        ("HUBLATCH_PUBLIC__TRUSTED_PROXIES", ""),
        ("HUBLATCH_STORE__MAX_TOKENS", "5"),
        ("HUBLATCH_LOG__ACCESS", "false"),
        ("HUBLATCH_LIMITS__HEAD_BYTES", "16KiB"),
    ];
    let config = with_variables(&text, &variables).expect("valid");
    assert_eq!(config.login.lifetime.as_secs(), 60);
    assert_eq!(config.public.url.origin, "https://hub.example.org");
    let listen =
        [Listen::Tcp(([127, 0, 0, 1], 9000).into()), Listen::Unix("/run/hublatch/public.sock".into())];
    assert_eq!(config.public.listen, listen);
    assert!(config.public.trusted_proxies.is_empty());
    assert_eq!(config.store.max_tokens, 5);
    assert!(!config.log.access);
    assert_eq!(config.limits.head_bytes, 16 * 1024);
}

#[test]
fn a_variable_gives_what_the_file_lacks() {
    let without_hub = MINIMAL.replace("[hub]\nurl = \"http://127.0.0.1:8400\"\n", "");
    let config = with_variables(&without_hub, &[("HUBLATCH_HUB__URL", "unix:/run/hub.sock")]).expect("valid");
    assert_eq!(config.hub.upstream, Some(UpstreamAddress::Unix("/run/hub.sock".into())));
}

#[test]
fn a_variable_replaces_a_whole_list_of_the_file() {
    let text = MINIMAL.replace("[hub]", "trusted_proxies = [\"10.0.0.0/8\", \"bad\"]\n[hub]");
    let config = with_variables(&text, &[("HUBLATCH_PUBLIC__TRUSTED_PROXIES", "192.0.2.1")]).expect("valid");
    assert_eq!(config.public.trusted_proxies.len(), 1);
}

#[test]
fn a_bad_variable_is_named_in_the_fault() {
    let wrong = complaint(with_variables(MINIMAL, &[("HUBLATCH_LOGIN__LIFETIME", "30")]));
    assert!(
        wrong.starts_with("HUBLATCH_LOGIN__LIFETIME: login.lifetime: \"30\" is not a duration"),
        "{wrong}"
    );
    let wrong = complaint(with_variables(MINIMAL, &[("HUBLATCH_LOG__ACCESS", "yes")]));
    assert!(wrong.starts_with("HUBLATCH_LOG__ACCESS: log.access: \"yes\" is not true or false"), "{wrong}");
    let wrong = complaint(with_variables(MINIMAL, &[("HUBLATCH_HUB__API_URL", "http://127.0.0.1:8081")]));
    assert!(
        wrong.starts_with("HUBLATCH_HUB__API_URL: hub.api_url: \"http://127.0.0.1:8081\" does not end in"),
        "{wrong}"
    );
}

#[test]
fn a_variable_that_names_no_key_is_a_fault() {
    for (name, said) in [
        ("HUBLATCH_LOGIN__LIFTIME", "did you mean HUBLATCH_LOGIN__LIFETIME?"),
        ("HUBLATCH_LOGINS__LIFETIME", "did you mean HUBLATCH_LOGIN__LIFETIME?"),
        ("HUBLATCH_login__lifetime", "names no key"),
        ("HUBLATCH_LOGIN__", "names no key"),
        ("HUBLATCH___", "names no key"),
        ("HUBLATCH_APPS__0__NAME", "write them in the file"),
        ("HUBLATCH_APPS[0]__NAME", "names no key"),
    ] {
        let wrong = complaint(with_variables(MINIMAL, &[(name, "x")]));
        assert!(wrong.starts_with(&format!("{name}: ")) && wrong.contains(said), "{wrong}");
        assert_eq!(wrong.lines().count(), 1, "{wrong}");
    }
}

#[test]
fn a_variable_with_one_underscore_too_few_is_told() {
    let config = with_variables(MINIMAL, &[("HUBLATCH_LOGIN_LIFETIME", "1m"), ("HUBLATCH_API_URL", "x")]);
    let warnings = config.expect("valid").warnings;
    let told: Vec<&String> = warnings.iter().filter(|warning| warning.contains("variable")).collect();
    assert_eq!(told, ["the variable HUBLATCH_LOGIN_LIFETIME sets nothing; write HUBLATCH_LOGIN__LIFETIME"]);
}

#[test]
fn other_variables_are_left_alone() {
    let others = [
        "HUBLATCH_CONFIG",
        "HUBLATCH_API_URL",
        "HUBLATCH_API_KEY",
        "HUBLATCH_BIN",
        "HUBLATCH_PORT_8000_TCP",
        "A__B",
    ];
    let others: Vec<_> = others.iter().map(|name| (*name, "x")).collect();
    assert!(with_variables(MINIMAL, &others).is_ok());
}
