//! Durations, sizes, rates and names as they are written. An error is the rest of a sentence that begins with the value.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use hyper::header::HeaderName;

/// The longest duration: 30 days. Far above any use, far below what overflows a clock.
const DURATION_MAX: Duration = Duration::from_hours(30 * 24);

/// Units of time in milliseconds, the largest first.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Units of size in bytes, the largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A duration from nothing to the longest.
pub(super) const DURATION: RangeInclusive<Duration> = Duration::ZERO..=DURATION_MAX;
/// A duration of at least a millisecond: nothing would end before it began.
pub(super) const SOME_DURATION: RangeInclusive<Duration> = Duration::from_millis(1)..=DURATION_MAX;

/// A duration within `range`.
pub(super) fn duration_within(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let millis = with_unit(text, &TIME_UNITS).ok_or(
            "is not a duration; write a number and a unit (ms, s, m, h), for example \"30s\" or \"5m\"",
        )?;
        let duration = Duration::from_millis(millis);
        if duration < *range.start() {
            return Err(format!("is too short; write at least \"{}\"", written(*range.start())));
        }
        if duration > *range.end() {
            return Err(format!("is too long; write at most \"{}\"", written(*range.end())));
        }
        Ok(duration)
    }
}

/// A size within `range`: `"64KiB"`.
pub(super) fn size_within(range: RangeInclusive<usize>) -> impl Fn(&str) -> Result<usize, String> {
    move |text| {
        let bytes = with_unit(text, &SIZE_UNITS)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or("is not a size; write a number and a unit (B, KiB, MiB, GiB), for example \"64KiB\"")?;
        if !range.contains(&bytes) {
            return Err(format!("is not a size from {} to {} bytes", range.start(), range.end()));
        }
        Ok(bytes)
    }
}

/// A rate per second: `"100/s"`.
pub(super) fn rate(text: &str) -> Result<NonZeroU32, String> {
    let number = text.strip_suffix("/s").filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| "is not a rate; write how many links a second, for example \"100/s\"".to_owned())
}

/// A duration as one writes it in the file.
pub(super) fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    let fits = |(_, unit): &&(&str, u64)| millis > 0 && millis.is_multiple_of(u128::from(*unit));
    TIME_UNITS
        .iter()
        .find(fits)
        .map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", millis / u128::from(*unit)))
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &[(&str, T)]) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meant)| *meant).ok_or_else(|| {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("is not known; write {}", words.join(" or "))
        })
    }
}

/// Headers that a browser, a proxy or the hub already gives a meaning: removing or setting them on every request would
/// break the request, or let a client speak for us.
const RESERVED_HEADERS: &str = "\
    accept authorization cache-control connection cookie date expect forwarded host if-match \
    if-modified-since if-none-match if-range if-unmodified-since keep-alive origin pragma \
    proxy-authenticate proxy-authorization proxy-connection range referer set-cookie te trailer \
    transfer-encoding upgrade upgrade-insecure-requests user-agent via x-real-ip x-scheme";
/// Beginnings of such headers.
const RESERVED_HEADER_FAMILIES: &[&str] = &["accept-", "content-", "sec-", "x-forwarded-"];

/// The name of a header of our own.
pub(super) fn header(text: &str) -> Result<HeaderName, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let name = HeaderName::try_from(text)
        .ok()
        .filter(|_| text.bytes().all(plain))
        .ok_or("is not a header name; write letters, digits, \"-\" and \"_\", for example \"REMOTE_USER\"")?;
    let folded = folded(&name);
    if RESERVED_HEADERS.split(' ').any(|word| word == folded)
        || RESERVED_HEADER_FAMILIES.iter().any(|family| folded.starts_with(family))
    {
        return Err(
            "already has another meaning in HTTP; write a name of its own, for example \"REMOTE_USER\""
                .into(),
        );
    }
    Ok(name)
}

/// A header name as a careless server reads it: case ignored (as in HTTP), `_` as `-` (as CGI does).
pub(super) fn folded(name: &HeaderName) -> String {
    name.as_str().replace('_', "-")
}

/// Parameters that the hub, its OAuth (RFC 6749), notebook servers or we give a meaning: the token's is removed from every
/// query, and a notebook's `?token=` would be as well.
const RESERVED_PARAMETERS: &[&str] = &[
    "_xsrf",
    "access_token",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "error",
    "error_description",
    "file",
    "grant_type",
    "id_token",
    "next",
    "nonce",
    "password",
    "path",
    "redirect_uri",
    "refresh_token",
    "reset",
    "response_type",
    "scope",
    "server",
    "state",
    "token",
    "url",
    "user",
    "username",
    "workspace",
];

/// The query parameter of the token.
pub(super) fn parameter(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let wrong = "is not a parameter; write at most 64 of a-z, 0-9 and \"_\", for example \"login_token\"";
    let name = plain_text(text, 64, plain, wrong)?;
    if RESERVED_PARAMETERS.contains(&text) {
        return Err("is a parameter of the hub's own, of OAuth or of notebooks, and would be taken out of every request; \
                    write another name, for example \"login_token\""
            .into());
    }
    Ok(name)
}

/// Any text, as it is.
#[allow(clippy::unnecessary_wraps)] // as the reader of a text wants it
pub(super) fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Any text; none if empty.
#[allow(clippy::unnecessary_wraps)] // as the reader of a text wants it
pub(super) fn any_or_none(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// The absolute path of a file or socket, if `text` is one.
pub(super) fn absolute_path(text: &str) -> Option<PathBuf> {
    let is_path = text.starts_with('/') && !text.ends_with('/') && !text.contains('\0');
    is_path.then(|| PathBuf::from(text))
}

/// The name of an app: for logs, metrics and the audit.
pub(super) fn app_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    plain_text(
        text,
        64,
        plain,
        "is not an app's name; write at most 64 letters, digits, \".\", \"_\" and \"-\"",
    )
}

/// `text`, if it is not empty, has at most `most` bytes and `plain` ones alone; else what is `wrong`.
pub(super) fn plain_text(
    text: &str,
    most: usize,
    plain: impl Fn(u8) -> bool,
    wrong: &str,
) -> Result<String, String> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(plain);
    if fits { Ok(text.to_owned()) } else { Err(wrong.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let duration = duration_within(DURATION);
        for (text, millis) in
            [("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("500ms", 500), ("0s", 0), ("007s", 7_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            " 30s",
            "30 s",
            "30s ",
            "30S",
            "1d",
            "5m30s",
            "٣s",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err_and(|wrong| wrong.starts_with("is not a duration")), "{text}");
        }
    }

    #[test]
    fn a_duration_keeps_its_bounds() {
        let bounded = duration_within(Duration::from_secs(1)..=Duration::from_hours(1));
        assert_eq!(bounded("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(bounded("60m"), Ok(Duration::from_hours(1)));
        assert_eq!(bounded("999ms"), Err("is too short; write at least \"1s\"".to_owned()));
        assert_eq!(bounded("3601s"), Err("is too long; write at most \"1h\"".to_owned()));
        let duration = duration_within(DURATION);
        assert!(duration_within(SOME_DURATION)("0s").is_err());
        assert!(duration("721h").is_err());
        // As many milliseconds as a u64 holds, and hours that overflow it.
        assert!(duration("18446744073709551615ms").is_err_and(|wrong| wrong.starts_with("is too long")));
        assert!(duration("18446744073709551615h").is_err());
    }

    #[test]
    fn a_duration_is_shown_as_it_is_written() {
        let duration = duration_within(DURATION);
        for text in ["0s", "1ms", "1500ms", "30s", "90s", "5m", "1h", "720h"] {
            assert_eq!(duration(text).map(written), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_size_is_a_number_and_a_binary_unit() {
        let size = size_within(0..=usize::MAX);
        for (text, bytes) in [("64KiB", 65_536), ("1MiB", 1 << 20), ("2GiB", 2 << 30), ("512B", 512)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "64", "64K", "64KB", "64kib", "64 KiB", "-1B", "1.5MiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size_within(8..=16)("7B").is_err());
        assert!(size_within(8..=16)("17B").is_err());
    }

    #[test]
    fn a_rate_is_a_number_per_second_and_not_zero() {
        assert_eq!(rate("100/s").map(NonZeroU32::get), Ok(100));
        for text in ["", "100", "0/s", "/s", "-1/s", "+1/s", "60/m", "100 /s", "4294967296/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_with_another_meaning_is_refused_in_every_spelling() {
        assert_eq!(header("REMOTE_USER").map(|name| name.as_str().to_owned()), Ok("remote_user".to_owned()));
        assert!(header("X-Hublatch-Assertion").is_ok());
        for text in [
            "Connection",
            "Host",
            "Cookie",
            "Authorization",
            "Content-Length",
            "content_type",
            "Transfer_Encoding",
            "X-Forwarded-For",
            "x_forwarded_user",
            "Forwarded",
            "X-Real-IP",
            "X_Scheme",
            "Sec-Fetch-Mode",
            "Origin",
            "TE",
            "Upgrade",
            "",
            "Remote User",
            "Remote:User",
            "Rémote",
            "X.User",
        ] {
            assert!(header(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_parameter_is_lower_case_and_not_the_hubs_own() {
        assert!(parameter("login_token").is_ok());
        for text in [
            "",
            "next",
            "_xsrf",
            "token",
            "code",
            "state",
            "access_token",
            "Login",
            "login-token",
            "a b",
            "a%62",
        ] {
            assert!(parameter(text).is_err(), "{text}");
        }
        assert!(parameter(&"a".repeat(65)).is_err());
    }
}
