//! `picloud completions` and `picloud man`: the command line's definition, for shells and for `man`.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_mangen::Man;
use serde_json::json;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::exit::CliError;
use crate::output::Terminal;

/// Print the completions for a shell.
///
/// # Errors
///
/// They cannot be written.
pub fn completions(args: &CompletionsArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "picloud", &mut script);
    terminal.raw(&script)
}

/// Write the manual pages to a folder, or print the first.
///
/// # Errors
///
/// They cannot be written.
pub fn man(args: &ManArgs, terminal: &mut Terminal) -> Result<(), CliError> {
    let Some(folder) = &args.dir else {
        return terminal.raw(page(&Man::new(definition()))?.as_bytes());
    };
    let pages = write(folder).map_err(|error| CliError::Failed(format!("{}: {error}", folder.display())))?;
    if terminal.json_wanted() {
        let files: Vec<String> = pages.iter().map(|page| page.display().to_string()).collect();
        return terminal.json(&json!({ "items": files }));
    }
    terminal.line(&format!("{} pages in {}", pages.len(), folder.display()))?;
    terminal.note(&format!("read them with `man -l {}/picloud.1`", folder.display()));
    Ok(())
}

/// The definition as manual pages want it: `picloud-kv-set(1)`, and no page about help.
fn definition() -> clap::Command {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    command
}

/// A page for each command, in a folder that is made if it is not there.
fn write(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut pages = Vec::new();
    write_below(definition(), folder, &mut pages)?;
    pages.sort();
    Ok(pages)
}

fn write_below(command: clap::Command, folder: &Path, pages: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_below(below.clone(), folder, pages)?;
    }
    let man = Man::new(command);
    let file = folder.join(man.get_filename());
    std::fs::write(&file, page(&man)?)?;
    pages.push(file);
    Ok(())
}

/// The page of a command. What stands below the options are examples, whose lines are to stay as they are.
fn page(man: &Man) -> std::io::Result<String> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    let page = String::from_utf8_lossy(&page).into_owned();
    let Some((before, examples)) = page.split_once(".SH EXTRA\n") else { return Ok(page) };
    let (examples, after) = examples.split_at(examples.find("\n.SH ").map_or(examples.len(), |at| at + 1));
    Ok(format!("{before}.SH EXAMPLES\n.nf\n{}\n.fi\n{after}", examples.trim_end()))
}

#[cfg(test)]
mod tests {
    use crate::commands::tests::picloud_in;
    use crate::exit::Exit;

    #[tokio::test]
    async fn every_shell_gets_completions_of_every_command() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let ran = picloud_in(&[], &["completions", shell]).await.expect(Exit::Ok);
            for word in ["rollback", "http-policy", "doctor"] {
                assert!(ran.out.contains(word), "{shell} does not know {word}");
            }
        }
        picloud_in(&[], &["completions", "cmd"]).await.expect(Exit::Usage);
    }

    #[tokio::test]
    async fn every_command_has_a_manual_page() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("man");
        let ran = picloud_in(&[], &["man", pages.to_str().unwrap()]).await.expect(Exit::Ok);
        for name in ["picloud.1", "picloud-deploy.1", "picloud-kv-set.1", "picloud-http-policy-allow.1"] {
            let page = std::fs::read_to_string(pages.join(name)).unwrap();
            assert!(page.contains(".SH NAME") && page.contains("picloud"), "{name}: {page}");
        }
        let count = std::fs::read_dir(&pages).unwrap().count();
        assert!(ran.out.starts_with(&format!("{count} pages in ")), "{}", ran.out);
        assert!(!pages.join("picloud-help.1").exists());
        let examples = std::fs::read_to_string(pages.join("picloud-deploy.1")).unwrap();
        let (_, below) = examples.split_once(".SH EXAMPLES\n.nf\n").unwrap();
        assert!(below.contains("picloud deploy") && below.trim_end().ends_with(".fi"), "{examples}");
    }

    #[tokio::test]
    async fn without_a_folder_the_first_page_is_printed() {
        let ran = picloud_in(&[], &["man"]).await.expect(Exit::Ok);
        assert!(ran.out.contains(".TH picloud 1") && ran.out.contains("picloud\\-deploy(1)"), "{}", ran.out);
    }
}
