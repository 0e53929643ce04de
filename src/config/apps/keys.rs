//! `apps[].keys`: digests, and what is said to somebody who writes anything else.

use std::collections::HashMap;

use super::super::file::ConfigFile;
use crate::token::KeyDigest;

/// Digests that everybody knows: of the example keys in our documentation, and of no text at all.
///
/// The documentation's keys are `hk_documentation-documentation-documentation-1` (`-2`, `-3`, `-4`).
const KNOWN_KEYS: [&str; 5] = [
    "sha256:8016cef8741adceedfcd6b25f94cce71d7f6a8a91e78a7333df6aeb8c6826805",
    "sha256:abf79e2bf0520eaed59eb8fad1b350519c20edb53028cd3edea4721da0e985d4",
    "sha256:834a9c6fde81096a7eaedb34d9661ffad9ad482915f0d9050995ed094a6a1572",
    "sha256:e84183b77cc437b393cbd14f4bb390a7a64a51ef1a5d729bbcecf0b2bbec5e65",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

/// One key, or two while they rotate.
const KEYS_MAX: usize = 2;

/// The digests; an app that makes its own tokens needs none. `taken` says where each was first written. No fault repeats
/// what was written: it might be a key.
pub(super) fn keys(
    file: &mut ConfigFile,
    key: &str,
    texts: Vec<String>,
    makes_tokens: bool,
    taken: &mut HashMap<KeyDigest, String>,
) -> Vec<KeyDigest> {
    if texts.is_empty() && !makes_tokens {
        file.conflict(key, &[], "the app has no key; run hublatch keygen and write its sha256: line here");
    }
    if texts.len() > KEYS_MAX {
        file.fault(
            key,
            "has more than two keys; keep the one in use and, while it is replaced, its successor",
        );
    }
    let mut digests = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        let element = format!("{key}[{index}]");
        let wrong = match KeyDigest::parse(&text) {
            _ if text.starts_with("hk_") => "is a key and not its digest, so whoever can read this file has it; run \
                 hublatch keygen for a new one and write its sha256: line here"
                .to_owned(),
            None => "is not \"sha256:\" and 64 hex digits; run hublatch keygen and write its sha256: line here".to_owned(),
            Some(digest) if KNOWN_KEYS.contains(&digest.to_string().as_str()) => {
                "is the digest of a key that everybody knows from the documentation; run hublatch keygen and write \
                 its sha256: line here"
                    .to_owned()
            }
            Some(digest) => {
                digests.push(digest);
                match taken.insert(digest, element.clone()) {
                    Some(other) => format!("is the same key as {other}{}; give each app keys of its own", file.at_line(&other)),
                    None => continue,
                }
            }
        };
        file.fault(&element, wrong);
    }
    digests
}
