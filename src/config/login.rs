//! `[login]` and `[assertion]`: the rules of redeeming, and the proof to the hub.

use std::time::Duration;

use hyper::header::HeaderName;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use zeroize::Zeroizing;

use super::apps::pattern;
use super::file::ConfigFile;
use super::origin::page_url;
use super::parse::{duration_within, folded, header, one_of, parameter, written};
use super::secret::{Noted, Secret, refuse_exposed, secret};
use crate::token::{UsernameCase, UsernameRule};

/// The longest life that any configuration may give a token.
pub(super) const LIFETIME_MAX: Duration = Duration::from_hours(1);
/// The shortest: the API speaks of whole seconds.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// The store remembers a used link for ten minutes (`store::RETENTION`), so no grace can be longer.
const REPLAY_GRACE_MAX: Duration = Duration::from_mins(10);
/// An assertion is used at once; longer than this it would only serve a thief.
const ASSERTION_LIFETIME_MAX: Duration = Duration::from_mins(1);

/// What a visitor gets at the login path without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutToken {
    /// Our page (403) if the hub does not know the visitor; others go on.
    Page,
    /// The hub's own login.
    Forward,
    /// The app's page if the hub does not know the visitor, with a `state` that binds the link to come to her browser.
    Redirect,
}

/// When the confirm page is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// When another user is logged in, the click comes from elsewhere, or no browser vouches for it.
    Auto,
    /// Before each login.
    Always,
    /// Only for links that ask for it.
    Never,
}

/// `[login]`.
#[derive(Debug, Clone)]
pub struct Login {
    /// The query parameter that holds the token: lower-case letters, digits and `_`.
    pub parameter: String,
    /// The identity header.
    pub user_header: HeaderName,
    /// Life of a token that asks for none.
    pub lifetime: Duration,
    /// The longest life that a token can be given.
    pub max_lifetime: Duration,
    /// What may be a user name.
    pub usernames: UsernameRule,
    /// What a visitor without a token gets.
    pub without_token: WithoutToken,
    /// The app's own page, for "back to …".
    pub app_url: Option<String>,
    /// When to ask before a login.
    pub confirm: Confirm,
    /// How long a used link still leads its user on.
    pub replay_grace: Duration,
    /// Whether only links that are bound to a browser work.
    pub require_state: bool,
    /// Where a browser goes that has logged out; none: the hub's own page.
    pub after_logout_url: Option<String>,
}

/// `[assertion]`.
#[derive(Clone)]
pub struct Assertion {
    /// The header that carries the signed proof.
    pub header: HeaderName,
    /// Ed25519 private key, PKCS#8 in PEM.
    pub key_pem: Zeroizing<Vec<u8>>,
    /// Life of an assertion.
    pub lifetime: Duration,
    /// `aud`: who must accept it.
    pub audience: String,
}

impl std::fmt::Debug for Assertion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assertion")
            .field("header", &self.header)
            .field("lifetime", &self.lifetime)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

/// The lives of tokens: what `[login]` says and `[[apps]]` must keep to.
pub(super) struct Lifetimes {
    /// `login.lifetime`.
    pub(super) usual: Option<Duration>,
    /// `login.max_lifetime`.
    pub(super) longest: Option<Duration>,
}

/// `login.lifetime` and `login.max_lifetime`.
pub(super) fn lifetimes(file: &mut ConfigFile) -> Lifetimes {
    let within = || duration_within(LIFETIME_MIN..=LIFETIME_MAX);
    let usual = file.value("login.lifetime", Duration::from_secs(30), within());
    let longest = file.value("login.max_lifetime", Duration::from_mins(5), within());
    if let (Some(usual), Some(longest)) = (usual, longest)
        && usual > longest
    {
        // Told of the one that is written: the other may be a default that the reader never saw.
        let (usual, longest) = (written(usual), written(longest));
        if file.is_written("login.lifetime") {
            let message =
                format!("\"{usual}\" is longer than login.max_lifetime; write at most \"{longest}\"");
            file.fault("login.lifetime", message);
        } else {
            let message = format!(
                "\"{longest}\" is shorter than login.lifetime; write at least \"{usual}\", or a shorter login.lifetime"
            );
            file.fault("login.max_lifetime", message);
        }
    }
    Lifetimes { usual, longest }
}

/// The rest of `[login]`.
pub(super) fn login(
    file: &mut ConfigFile,
    lifetimes: &Lifetimes,
    user_header: Option<HeaderName>,
) -> Option<Login> {
    let parameter = file.value("login.parameter", "login_token".to_owned(), parameter);
    let usernames = file.value("login.usernames", None, |text| pattern(text).map(Some));
    let cases = [("refuse", UsernameCase::Refuse), ("lower", UsernameCase::Lower)];
    let case = file.value("login.username_case", UsernameCase::Refuse, one_of(&cases));
    let answers = [
        ("page", WithoutToken::Page),
        ("forward", WithoutToken::Forward),
        ("redirect", WithoutToken::Redirect),
    ];
    let without_token = file.value("login.without_token", WithoutToken::Page, one_of(&answers));
    let app_url = file.value("login.app_url", None, page_url);
    let times = [("auto", Confirm::Auto), ("always", Confirm::Always), ("never", Confirm::Never)];
    let confirm = file.value("login.confirm", Confirm::Auto, one_of(&times));
    let grace = duration_within(Duration::ZERO..=REPLAY_GRACE_MAX);
    let replay_grace = file.value("login.replay_grace", Duration::from_secs(30), grace);
    let require_state = require_state(file, without_token, app_url.as_ref());
    let after_logout_url = file.value("login.after_logout_url", None, page_url);
    let usernames = match usernames? {
        Some(pattern) => pattern,
        None => pattern("^[a-z0-9][a-z0-9._@+-]{0,63}$").ok()?,
    };
    Some(Login {
        parameter: parameter?,
        user_header: user_header?,
        lifetime: lifetimes.usual?,
        max_lifetime: lifetimes.longest?,
        usernames: UsernameRule::new(usernames, case?),
        without_token: without_token?,
        app_url: app_url?,
        confirm: confirm?,
        replay_grace: replay_grace?,
        require_state: require_state?,
        after_logout_url: after_logout_url?,
    })
}

/// `login.require_state`; and what the redirect needs, without which no browser gets a state.
fn require_state(
    file: &mut ConfigFile,
    without_token: Option<WithoutToken>,
    app_url: Option<&Option<String>>,
) -> Option<bool> {
    let required = file.flag("login.require_state", false);
    if without_token == Some(WithoutToken::Redirect) && app_url == Some(&None) {
        file.fault(
            "login.without_token",
            "\"redirect\" needs login.app_url; write where the app asks its users in",
        );
    }
    if required == Some(true) && without_token.is_some_and(|answer| answer != WithoutToken::Redirect) {
        file.fault(
            "login.require_state",
            "needs login.without_token = \"redirect\": no browser would ever get a state",
        );
    }
    required
}

/// The identity header. Its name may be a secret: with an authenticator that believes the header alone, whoever knows
/// the name and reaches the hub can be anybody.
pub(super) fn user_header(file: &mut ConfigFile) -> Option<HeaderName> {
    match secret(file, "login.user_header") {
        Ok(Some(Secret { text, key })) => {
            header(&text).map_err(|wrong| file.fault(&key, format!("the name {wrong}"))).ok()
        }
        Ok(None) => Some(HeaderName::from_static("remote_user")),
        Err(Noted) => None,
    }
}

/// Whether somebody could guess the name. 128 random bits are 26 letters and digits (base32) or more, and such a run
/// without a few digits in it is a word.
pub(super) fn is_guessable(header: &HeaderName) -> bool {
    let random = |run: &str| run.len() >= 26 && run.bytes().filter(u8::is_ascii_digit).count() >= 3;
    !header.as_str().split(['-', '_']).any(random)
}

/// `[assertion]`, if there is one: `Some(None)` is none, `None` a bad one.
#[allow(clippy::option_option)] // the outer one is that of every reader: a fault has been noted
pub(super) fn assertion(
    file: &mut ConfigFile,
    user_header: Option<&HeaderName>,
) -> Option<Option<Assertion>> {
    if !file.has_section("assertion") {
        return Some(None);
    }
    let name = file.value("assertion.header", HeaderName::from_static("x-hublatch-assertion"), header);
    let key_pem = signing_key(file);
    let lifetime = duration_within(LIFETIME_MIN..=ASSERTION_LIFETIME_MAX);
    let lifetime = file.value("assertion.lifetime", Duration::from_secs(10), lifetime);
    let audience =
        file.value("assertion.audience", "jupyterhub".to_owned(), |text| match text {
            "" => Err("is empty; write the audience of c.HublatchAuthenticator, for example \"jupyterhub\""
                .to_owned()),
            _ => Ok(text.to_owned()),
        });
    if let (Some(name), Some(user_header)) = (&name, user_header)
        && folded(name) == folded(user_header)
    {
        file.fault("assertion.header", "is the same header as login.user_header; write another name");
    }
    Some(Some(Assertion { header: name?, key_pem: key_pem?, lifetime: lifetime?, audience: audience? }))
}

fn signing_key(file: &mut ConfigFile) -> Option<Zeroizing<Vec<u8>>> {
    const HOW: &str = "make one with hublatch init, or with openssl genpkey -algorithm ed25519";
    let found = match secret(file, "assertion.key") {
        Ok(Some(found)) => found,
        Ok(None) => {
            file.fault(
                "assertion.key_file",
                format!("is required in [assertion]: an Ed25519 private key in PEM; {HOW}"),
            );
            return None;
        }
        Err(Noted) => return None,
    };
    refuse_exposed(file, &found);
    if !can_sign(found.text.as_bytes()) {
        file.fault(&found.key, format!("is not an Ed25519 private key in PEM (PKCS#8); {HOW}"));
        return None;
    }
    Some(Zeroizing::new(found.text.as_bytes().to_vec()))
}

/// Whether `pem` is a key that signs: its label alone proves nothing.
fn can_sign(pem: &[u8]) -> bool {
    let proof = |key| jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &serde_json::json!({}), &key);
    EncodingKey::from_ed_pem(pem).and_then(proof).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_name_of_128_random_bits_cannot_be_guessed() {
        for name in [
            "x-0f8b2c9d4e5a6f708192a3b4c5d6e7f8",
            "x-user-k5h2c7qzv3n6w4t2y7m5r3p8dx",
            "0f8b2c9d4e5a6f708192a3b4c5d6e7f8",
        ] {
            assert!(!is_guessable(&HeaderName::from_static(name)), "{name}");
        }
        for name in [
            "remote_user",
            "x-remote-user",
            "x-authenticated-user-of-the-university-of-example",
            "x-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(is_guessable(&HeaderName::from_static(name)), "{name}");
        }
    }
}
