//! `[login]` and `[assertion]`: the rules of redeeming, and the proof to the hub.

use std::ops::RangeInclusive;
use std::time::Duration;

use hyper::header::HeaderName;
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use super::apps::{max_session, pattern};
use super::file::ConfigFile;
use super::kind::{duration, flag, text, words};
use super::origin::page_url;
use super::parse::{header, parameter, written};
use super::secret::{self, Secret};
use super::table::section;
use crate::token::{NamePattern, UsernameCase, UsernameRule};

/// The lives that a configuration may give a token. The API speaks of whole seconds.
pub(super) const LIFETIME: RangeInclusive<Duration> = LIFETIME_MIN..=Duration::from_hours(1);
const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// The store remembers a used link for ten minutes (`store::RETENTION`), so no grace can be longer.
const REPLAY_GRACE_MAX: Duration = Duration::from_mins(10);
/// An assertion is used at once; longer than this it would only serve a thief.
const ASSERTION_LIFETIME_MAX: Duration = Duration::from_mins(1);

const CASES: [(&str, UsernameCase); 2] = [("refuse", UsernameCase::Refuse), ("lower", UsernameCase::Lower)];
const WITHOUT_TOKEN: [(&str, WithoutToken); 3] =
    [("page", WithoutToken::Page), ("forward", WithoutToken::Forward), ("redirect", WithoutToken::Redirect)];
const CONFIRM: [(&str, Confirm); 3] =
    [("auto", Confirm::Auto), ("always", Confirm::Always), ("never", Confirm::Never)];

/// What a visitor gets at the login path without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutToken {
    /// Our page (403) if the hub does not know the visitor; others go on.
    Page,
    /// The hub's own login.
    Forward,
    /// The app's page if the hub does not know the visitor, with a `state` that binds the link to come to their browser.
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

section! {
    /// The rules of logging in by a link.
    #[derive(Debug, Clone)]
    pub struct Login {
        /// The query parameter that holds the token of a link.
        parameter: String, text(parameter), default "login_token";
        /// The header that tells the hub who logs in; removed from every other request, in every spelling. Without [assertion]
        /// its name should be a secret: "X-" and 32 random hex digits, as the authenticator of the hub expects it.
        user_header: HeaderName, secret::name(header), default "REMOTE_USER";
        /// Life of a link for which the app asks no other, from "1s".
        lifetime: Duration, duration(LIFETIME), default "30s";
        /// The longest life that an app may ask for; at most "1h".
        max_lifetime: Duration, duration(LIFETIME), default "5m";
        /// The longest session that a link begins, from "1m" to "720h": then the browser must come with another link. Empty: the
        /// hub decides (14 days). It takes a hub whose authenticator is ours.
        max_session: Option<Duration>, text(max_session), default "";
        /// What may be a user name: a regular expression for the whole name. Whatever it says, a name is visible ASCII without
        /// / \ % , ; " ? #
        usernames: NamePattern, text(pattern), default "^[a-z0-9][a-z0-9._@+-]{0,63}$";
        /// Names with upper case: "refuse", or "lower" to fold them to lower case, as the hub does, before the rule is applied.
        username_case: UsernameCase, words(&CASES), default "refuse";
        /// A visitor who comes to the login page without a link and is not logged in: "page" (a page that says to come from the
        /// app), "forward" (the hub's own login page) or "redirect" (the app's page at app_url, with the parameters `state`,
        /// `next` and `redirect_uri`: the app logs them in, asks for a link with that `state`, and sends them back by it).
        without_token: WithoutToken, words(&WITHOUT_TOKEN), default "page";
        /// The app's own page: where "Back to the app" leads on our pages, and "redirect" above. Empty: no such button.
        app_url: Option<String>, text(page_url), default "";
        /// Whether to ask "Continue as alice?" before a login: "auto" (when somebody else is logged in, when the click does not
        /// come from one of the app's origins, or when no browser vouches for it), "always", "never" (only for links that ask
        /// for it).
        confirm: Confirm, words(&CONFIRM), default "auto";
        /// How long a used link still leads its own user on (refresh, back button), without a second login; at most "10m". "0s": a
        /// second click is not joined to a login under way either.
        replay_grace: Duration, duration(Duration::ZERO..=REPLAY_GRACE_MAX), default "30s";
        /// Whether only links with a `state` work, each in the one browser that was sent to the app for it: then no link can be
        /// handed to somebody else. Needs without_token = "redirect".
        require_state: bool, flag(), default false;
        /// Where a browser goes that has logged out at the hub, such as the app's own page. Empty: the hub's page stays.
        after_logout_url: Option<String>, text(page_url), default "";
    }
}

section! {
    /// The signed proof by which HublatchAuthenticator knows that a login comes from hublatch. Without this section the
    /// identity header alone is sent, and whoever reaches the hub past hublatch can send it too: hublatch then warns.
    #[derive(Debug, Clone)]
    pub struct Assertion {
        /// The header that carries the proof.
        header: HeaderName, text(header), default "X-Hublatch-Assertion";
        /// The Ed25519 private key, PEM. `hublatch init` makes it, and assertion.pub.pem for the hub.
        key: Secret, secret::secret(signing_key), required "/etc/hublatch/assertion.key.pem";
        /// Life of a proof, from "1s" to "1m": the hub reads it at once, so this only has to cover the difference of two clocks.
        lifetime: Duration, duration(LIFETIME_MIN..=ASSERTION_LIFETIME_MAX), default "10s";
        /// Who must accept it: c.HublatchAuthenticator.audience.
        audience: String, text(audience), default "jupyterhub";
    }
}

impl Login {
    /// What may be a user name.
    pub fn username_rule(&self) -> UsernameRule {
        UsernameRule::new(self.usernames.clone(), self.username_case)
    }
}

/// Notes a fault if a link would live longer than any may.
pub(super) fn check(file: &mut ConfigFile, login: &Login) {
    let (lifetime, longest) = (login.lifetime, login.max_lifetime);
    // Told of the one that is written: the other may be a default that the reader never saw.
    if file.is_written("login.lifetime") {
        file.refuse_longer("login.lifetime", lifetime, "login.max_lifetime", longest);
    } else if lifetime > longest {
        let (lifetime, longest) = (written(lifetime), written(longest));
        let message = format!(
            "\"{longest}\" is shorter than login.lifetime; write at least \"{lifetime}\", or a shorter login.lifetime"
        );
        file.conflict("login.max_lifetime", &["login.lifetime"], message);
    }
}

/// Whether `pem` is a key that signs: its label alone proves nothing.
fn signing_key(pem: &str) -> Result<(), &'static str> {
    let proof = |key| jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &serde_json::json!({}), &key);
    EncodingKey::from_ed_pem(pem.as_bytes()).and_then(proof).map(drop).map_err(|_| {
        "is not an Ed25519 private key in PEM (PKCS#8); make one with hublatch init, or with openssl genpkey \
         -algorithm ed25519"
    })
}

fn audience(text: &str) -> Result<String, String> {
    match text {
        "" => {
            Err("is empty; write the audience of c.HublatchAuthenticator, for example \"jupyterhub\""
                .to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

/// Whether somebody could guess the name. 128 random bits are 26 letters and digits (base32) or more, and such a run
/// without a few digits in it is a word.
pub(super) fn is_guessable(header: &HeaderName) -> bool {
    let random = |run: &str| run.len() >= 26 && run.bytes().filter(u8::is_ascii_digit).count() >= 3;
    !header.as_str().split(['-', '_']).any(random)
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
