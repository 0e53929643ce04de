//! What a hub token may do and how long it lives: what was asked for, within what `[apps.hub_tokens]` allows.

use std::time::Duration;

use super::ExchangeError;
use crate::config::AppHubTokens;

/// How long the token lives: as long as it may, unless less is wanted.
pub(super) fn lifetime(bounds: &AppHubTokens, wanted: Option<Duration>) -> Result<Duration, ExchangeError> {
    let longest = Duration::from_secs(bounds.max_lifetime.as_secs());
    let wanted = wanted.unwrap_or(longest);
    if wanted.is_zero() || wanted > longest {
        return Err(ExchangeError::Lifetime { max_seconds: longest.as_secs() });
    }
    Ok(wanted)
}

/// The scopes of the token, each within one that the app may have.
pub(super) fn scopes(
    bounds: &AppHubTokens,
    user: &str,
    wanted: Option<Vec<String>>,
) -> Result<Vec<String>, ExchangeError> {
    let allowed: Vec<String> = bounds.scopes.iter().map(|scope| of_user(scope, user)).collect();
    let Some(wanted) = wanted else { return Ok(allowed) };
    let mut scopes = Vec::with_capacity(wanted.len());
    for scope in wanted {
        let full = of_user(&scope, user);
        if !allowed.iter().any(|allowed| covers(allowed, &full, user)) {
            return Err(ExchangeError::Scope(scope));
        }
        if !scopes.contains(&full) {
            scopes.push(full);
        }
    }
    Ok(scopes)
}

/// `access:servers!user` as `access:servers!user=alice`: the hub reads the first as the owner's too.
fn of_user(scope: &str, user: &str) -> String {
    if scope.ends_with("!user") { format!("{scope}={user}") } else { scope.to_owned() }
}

/// Whether `scope` is `allowed` or the same for less: a scope without a filter is for all, and a user's servers are theirs.
fn covers(allowed: &str, scope: &str, user: &str) -> bool {
    fn parts(scope: &str) -> (&str, Option<&str>) {
        scope.split_once('!').map_or((scope, None), |(base, filter)| (base, Some(filter)))
    }
    let ((base, bound), (wanted, filter)) = (parts(allowed), parts(scope));
    base == wanted
        && match (bound, filter) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(bound), Some(filter)) => {
                let one_of_hers = filter.strip_prefix("server=").and_then(|server| server.strip_prefix(user));
                bound == filter
                    || (bound == format!("user={user}")
                        && one_of_hers.is_some_and(|rest| rest.starts_with('/')))
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(allowed: &[&str], wanted: Option<&[&str]>) -> Result<Vec<String>, ExchangeError> {
        let owned = |scopes: &[&str]| scopes.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
        let bounds = AppHubTokens { scopes: owned(allowed), max_lifetime: Duration::from_hours(1) };
        scopes(&bounds, "alice", wanted.map(owned))
    }

    #[test]
    fn without_a_wish_the_token_has_all_that_the_app_may_have() {
        let scopes = granted(&["access:servers!user", "read:users:name!user", "list:groups"], None).unwrap();
        assert_eq!(scopes, ["access:servers!user=alice", "read:users:name!user=alice", "list:groups"]);
    }

    #[test]
    fn a_wish_is_granted_within_what_the_app_may_have() {
        for (allowed, wanted) in [
            ("access:servers!user", "access:servers!user"),
            ("access:servers!user", "access:servers!user=alice"),
            ("access:servers!user", "access:servers!server=alice/"),
            ("access:servers!user", "access:servers!server=alice/lab"),
            ("access:servers", "access:servers!user=bob"),
            ("access:servers", "access:servers"),
            ("access:servers!group=x", "access:servers!group=x"),
        ] {
            assert!(granted(&[allowed], Some(&[wanted])).is_ok(), "{allowed} {wanted}");
        }
        let twice =
            granted(&["access:servers!user"], Some(&["access:servers!user", "access:servers!user=alice"]));
        assert_eq!(twice.unwrap(), ["access:servers!user=alice"]);
    }

    #[test]
    fn a_wish_for_more_is_not() {
        for (allowed, wanted) in [
            ("access:servers!user", "access:servers"),
            ("access:servers!user", "access:servers!user=bob"),
            ("access:servers!user", "access:servers!user=alice2"),
            ("access:servers!user", "access:servers!server=bob/"),
            ("access:servers!user", "access:servers!server=alice2/"),
            ("access:servers!user", "access:servers!server=alice"),
            ("access:servers!user", "access:servers!group=x"),
            ("access:servers!server=alice/", "access:servers!user=alice"),
            ("access:servers!user", "servers!user"),
            ("access:servers!user", "inherit"),
            ("access:servers!user", ""),
        ] {
            assert!(granted(&[allowed], Some(&[wanted])).is_err(), "{allowed} {wanted}");
        }
    }

    #[test]
    fn a_life_is_within_the_apps() {
        let bounds = AppHubTokens { scopes: Vec::new(), max_lifetime: Duration::from_millis(60_500) };
        let seconds = |wanted: Option<u64>| {
            lifetime(&bounds, wanted.map(Duration::from_secs)).map(|life| life.as_secs())
        };
        assert_eq!(
            (seconds(None).unwrap(), seconds(Some(60)).unwrap(), seconds(Some(1)).unwrap()),
            (60, 60, 1)
        );
        assert!(seconds(Some(61)).is_err() && seconds(Some(0)).is_err());
    }
}
