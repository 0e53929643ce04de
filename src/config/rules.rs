//! What does not go together and what is unwise, wherever it concerns more than one key: a row for each rule.
//!
//! A rule sees the whole configuration, with defaults where a key has a fault of its own. What takes more than a look at
//! values (files, other apps, which of two keys is written) is checked beside the table of its section.

use std::borrow::Cow;

use super::file::ConfigFile;
use super::login::is_guessable;
use super::origin::{is_loopback, is_unprotected, web_url};
use super::parse::folded;
use super::{Config, Confirm, EmbedCookies, JwtKeys, RouteState, StoreUrl, WithoutToken, tls};

/// What is wrong, if anything.
type Verdict = Option<Cow<'static, str>>;

/// The key at which the fault is told; the other keys that it reads: if one of them is faulty itself, the rule is not reported; the rule.
type Rule = (&'static str, &'static [&'static str], fn(&Config) -> Verdict);

/// `text`, when `is_broken`.
fn when(is_broken: bool, text: &'static str) -> Verdict {
    is_broken.then_some(Cow::Borrowed(text))
}

const RULES: &[Rule] = &[
    ("management.listen", &["management.tls"], |config| {
        let (listen, tls) = (&config.management.listen, &config.management.tls);
        (tls.is_none() && !listen.is_local()).then(|| {
            format!(
                "\"{listen}\" can be reached from other machines, and an app's key could be read on the way; write \
                 management.tls, or a loopback address, for example \"127.0.0.1:8010\", or \
                 \"unix:/run/hublatch/management.sock\""
            )
            .into()
        })
    }),
    ("public.url", &[], |config| {
        let url = &config.public.url;
        (!url.secure && config.public.tls.is_some()).then(|| {
            format!("is http, but public.tls answers https only; write \"{}\"", over_tls(&url.origin)).into()
        })
    }),
    ("public.url", &["public.redirect_listen", "public.tls"], |config| {
        let url = &config.public.url;
        (!url.secure && !config.public.redirect_listen.is_empty()).then(|| {
            format!("is http, so public.redirect_listen leads nowhere; write \"{}\"", over_tls(&url.origin))
                .into()
        })
    }),
    ("public.proxy_protocol", &["public.trusted_proxies"], |config| {
        when(
            config.public.proxy_protocol && config.public.trusted_proxies.is_empty(),
            "is on, but nobody may speak it: write the addresses of your proxies as public.trusted_proxies",
        )
    }),
    ("hub.api_only", &["hub.api_token"], |config| {
        when(
            config.hub.api_only && config.hub.api.token.is_none(),
            "needs hub.api_token_file: the token of a hub service with the scopes \"servers\" and \"admin:users\"",
        )
    }),
    ("routes.auth_token_file", &["routes", "management"], |config| {
        let routes = config.routes.as_ref().filter(|routes| routes.auth_token.is_none())?;
        let listen = routes.api_listen.as_ref().unwrap_or(&config.management.listen);
        (!listen.is_local()).then(|| {
            format!(
                "is required where the routes can be written from other machines (\"{listen}\"): write the hub's \
                 CONFIGPROXY_AUTH_TOKEN into a file, or a loopback address as routes.api_listen"
            )
            .into()
        })
    }),
    ("routes.state", &["store.url"], |config| {
        let is_shared = matches!(config.store.url, StoreUrl::Redis(_));
        when(
            !is_shared && config.routes.as_ref()?.state == Some(RouteState::Store),
            "is \"store\", which needs a Redis as store.url; write a file, or such a store",
        )
    }),
    ("login.without_token", &["login.app_url"], |config| {
        when(
            config.login.without_token == WithoutToken::Redirect && config.login.app_url.is_none(),
            "\"redirect\" needs login.app_url; write where the app asks its users in",
        )
    }),
    ("login.require_state", &["login.without_token"], |config| {
        when(
            config.login.require_state && config.login.without_token != WithoutToken::Redirect,
            "needs login.without_token = \"redirect\": no browser would ever get a state",
        )
    }),
    ("login.without_token", &["hub.api_only"], |config| {
        when(
            config.hub.api_only && config.login.without_token == WithoutToken::Forward,
            "is \"forward\", but with hub.api_only the hub has no login page; write \"page\" or \"redirect\"",
        )
    }),
    ("assertion.header", &["login.user_header"], |config| {
        when(
            folded(&config.assertion.as_ref()?.header) == folded(&config.login.user_header),
            "is the same header as login.user_header; write another name",
        )
    }),
    ("hub_oauth", &["assertion"], |config| {
        when(
            config.hub_oauth.is_some() && config.assertion.is_some(),
            "stands beside [assertion]; a hub learns of its user in one way: remove one of the two sections",
        )
    }),
    ("login.without_token", &["hub_oauth"], |config| {
        when(
            config.hub_oauth.is_some() && config.login.without_token == WithoutToken::Forward,
            "leads nowhere with [hub_oauth]: the hub's own login is hublatch; write \"page\" or \"redirect\"",
        )
    }),
    ("hub_oauth.issuer", &["hub_oauth.insecure"], |config| {
        let provider = config.hub_oauth.as_ref()?;
        let issuer = web_url(&provider.issuer).filter(|issuer| issuer.scheme() == "http")?;
        let is_admitted = provider.insecure && is_loopback(&issuer);
        let text = if is_unprotected(&issuer) {
            "must be https: whoever answers there is the identity at the hub; write management.tls and its https address"
        } else {
            "must be https, or insecure = true where every program on this machine may be trusted"
        };
        when(!is_admitted, text)
    }),
    ("login.max_session", &["hub_oauth"], |config| {
        when(config.hub_oauth.is_some() && config.login.max_session.is_some(), SESSION_WITHOUT_ID)
    }),
    ("embed.cookies", &["public.url"], |config| {
        let url = &config.public.url;
        // Browsers keep cookies for other sites over https alone, and from this machine.
        let is_kept = url.secure || web_url(&url.origin).is_some_and(|url| is_loopback(&url));
        when(
            !is_kept && config.embed.as_ref()?.cookies != EmbedCookies::Lax,
            "needs a public.url of https: browsers keep such cookies from no other; or write \"lax\", which does for \
             frames of the same site",
        )
    }),
];

/// What a session of its own length is beside `[hub_oauth]`, whose logins give the hub no session id.
const SESSION_WITHOUT_ID: &str = "has no effect with [hub_oauth], whose logins give the hub no session id: take it out; \
                                  hub_oauth.session is how long the hub keeps a session, if it keeps auth state";

fn over_tls(origin: &str) -> String {
    origin.replacen("http:", "https:", 1)
}

/// Notes a fault for each rule that is broken.
pub(super) fn check(file: &mut ConfigFile, config: &Config) {
    for (key, others, rule) in RULES {
        if let Some(message) = rule(config) {
            file.conflict(key, others, message);
        }
    }
    for (index, app) in config.apps.iter().enumerate() {
        // Its default is that of [login].
        if config.hub_oauth.is_some() && config.login.max_session.is_none() && app.max_session.is_some() {
            file.conflict(&format!("apps[{index}].max_session"), &["hub_oauth"], SESSION_WITHOUT_ID);
        }
        if app.hub_tokens.is_some() && config.hub.api.token.is_none() {
            let message =
                "needs hub.api_token_file: the token of a hub service that has the scope \"tokens\"";
            file.conflict(&format!("apps[{index}].hub_tokens"), &["hub.api_token"], message);
        }
    }
}

const WARNINGS: &[fn(&Config) -> Verdict] = &[
    |config| {
        when(
            config.hub_oauth.as_ref()?.insecure,
            "hub_oauth.insecure: a program on this machine that takes the management port while hublatch restarts can be \
             anybody at the hub; write management.tls and an https issuer",
        )
    },
    |config| {
        let header = Some(&config.login.user_header).filter(|header| is_guessable(header))?;
        (config.assertion.is_none() && config.hub_oauth.is_none()).then(|| {
            format!(
                "no [assertion]: whoever reaches the hub's port past hublatch, such as any notebook, can send the header \
                 \"{header}\" and be anybody; use HublatchAuthenticator with [assertion], or a secret login.user_header"
            )
            .into()
        })
    },
    |config| {
        let far = config.public.listen.iter().find(|listen| !listen.is_local())?;
        (!config.public.url.secure).then(|| {
            format!(
                "public.url is http while \"{far}\" can be reached from other machines: login links and sessions can \
                 be read on the way; write public.tls, or put a TLS front before hublatch, and the https URL as public.url"
            )
            .into()
        })
    },
    |config| {
        let public = &config.public;
        when(
            public.url.secure && public.tls.is_none() && public.trusted_proxies.is_empty(),
            "public.url is https without public.tls, so a TLS front stands before hublatch, but there is no \
             public.trusted_proxies: all browsers count as one address, that of the TLS front; write its address as \
             public.trusted_proxies",
        )
    },
    |config| {
        let (tunnels, connections) = (config.limits.route_tunnels, config.limits.route_connections);
        (config.routes.is_some() && tunnels >= connections).then(|| {
            format!(
                "limits.route_tunnels ({tunnels}) is not less than limits.route_connections ({connections}): WebSockets may \
                 take all connections to a server, and its other requests are answered 503"
            )
            .into()
        })
    },
    |config| {
        when(
            config.login.confirm == Confirm::Never,
            "login.confirm is \"never\": a link opened by mistake, or sent by somebody else, replaces the user who is \
             logged in without a question",
        )
    },
];

/// What is allowed but unwise. That hublatch runs as root, or with few descriptors, is for the process to see.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings: Vec<String> =
        WARNINGS.iter().filter_map(|warning| warning(config)).map(Cow::into_owned).collect();
    for app in &config.apps {
        let jwks = app.jwt.as_ref().and_then(|jwt| match &jwt.keys {
            JwtKeys::Url(url) => Some(url),
            JwtKeys::Pem(_) => None,
        });
        for (key, url) in [("jwks_url", jwks), ("exchange_url", app.exchange_url.as_ref())] {
            if url.is_some_and(is_unprotected) {
                warnings.push(format!(
                    "the {key} of app {:?} is http: whoever stands on the way can answer in its place and be anybody \
                     whom the app may log in",
                    app.name
                ));
            }
        }
    }
    warnings.extend(tls::warnings(&config.public, &config.management));
    warnings.extend(config.store.url.warning());
    warnings
}
