//! `hublatch keygen`: a new app key. It is stored nowhere; the configuration holds its digest.

use aws_lc_rs::rand::SystemRandom;

use super::{Exit, complain, fail, print};
use crate::token::AppKey;

/// Prints the key and, below it, its digest.
pub fn run() -> Exit {
    let key = match AppKey::generate(&SystemRandom::new()) {
        Ok(key) => key,
        Err(error) => return fail("keygen", &error.to_string()),
    };
    let exit = print(&format!("{}\n{}", key.expose(), key.digest()));
    complain(
        "The first line is for the app and is not shown again; the second goes into `keys` of its [[apps]].",
    );
    exit
}
