//! `hublatch reference`: what this version of hublatch reads, and files for those who run it.

use clap::{Args, ValueEnum};

use super::{Exit, print};
use crate::{api, config};

/// What to print.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    #[arg(value_enum, default_value_t = ReferenceKind::Config)]
    what: ReferenceKind,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReferenceKind {
    /// Every key of the configuration with its default, as TOML
    Config,
    /// A JSON Schema of the configuration, for editors
    Schema,
    /// The management API, field by field, as YAML
    Openapi,
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
        ReferenceKind::Config => config::reference(),
        ReferenceKind::Schema => format!("{:#}", config::schema()),
        ReferenceKind::Openapi => api::OPENAPI.clone(),
        ReferenceKind::Nginx => include_str!("../../config/nginx/hublatch.conf").to_owned(),
        ReferenceKind::Systemd => format!("# hublatch.service\n{SERVICE}\n# hublatch.socket\n{SOCKET}"),
    };
    print(text.trim_end())
}
