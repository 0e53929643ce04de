//! `hublatch generate`: what packages install beside the binary, made from the command line itself.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::{Cli, Exit, fail, print};

/// What to make.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[arg(value_enum)]
    what: GeneratedFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum GeneratedFile {
    /// The manual page (hublatch.1)
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

/// Prints it.
pub fn run(args: &GenerateArgs) -> Exit {
    let mut made = Vec::new();
    let shell = match args.what {
        GeneratedFile::Man => {
            return match manual(&mut made) {
                Ok(()) => print(String::from_utf8_lossy(&made).trim_end()),
                Err(error) => fail("generate", &error.to_string()),
            };
        }
        GeneratedFile::Bash => Shell::Bash,
        GeneratedFile::Zsh => Shell::Zsh,
        GeneratedFile::Fish => Shell::Fish,
    };
    clap_complete::generate(shell, &mut Cli::command(), "hublatch", &mut made);
    print(String::from_utf8_lossy(&made).trim_end())
}

/// One page: the command, then each of its commands with its options.
fn manual(page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
        page.extend_from_slice(format!(".SH hublatch {}\n", command.get_name()).as_bytes());
        let man = clap_mangen::Man::new(command.clone());
        let mut part = Vec::new();
        man.render_description_section(&mut part)?;
        man.render_options_section(&mut part)?;
        // The headings of a page of its own become those of a section.
        page.extend_from_slice(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").as_bytes());
    }
    man.render_version_section(page)
}
