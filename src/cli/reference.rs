//! `hublatch reference`: what this version of hublatch reads, and files for those who run it.

use clap::{Args, ValueEnum};

use super::{Exit, print};
use crate::config;

/// What to print.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    #[arg(value_enum, default_value_t = What::Config)]
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Every key of the configuration with its default, as TOML
    Config,
    /// A JSON Schema of the configuration, for editors
    Schema,
    /// A TLS front: a site of nginx
    Nginx,
    /// The units of systemd, each after a line with its name
    Systemd,
}

const SERVICE: &str = include_str!("../../config/systemd/hublatch.service");
const SOCKET: &str = include_str!("../../config/systemd/hublatch.socket");

/// Prints it.
pub fn run(args: &ReferenceArgs) -> Exit {
    let text = match args.what {
        What::Config => config::reference(),
        What::Schema => format!("{:#}", config::schema()),
        What::Nginx => include_str!("../../config/nginx/hublatch.conf").to_owned(),
        What::Systemd => format!("# hublatch.service\n{SERVICE}\n# hublatch.socket\n{SOCKET}"),
    };
    print(text.trim_end())
}
