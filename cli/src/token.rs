//! `picloud token replace`: a new admin token when the old one is lost. Whoever can write to the data directory may have
//! one, so this asks no server: it works on the database of one that does not run.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use picloud_host::ports::SystemClock;
use picloud_manager::store::token::ADMIN;
use picloud_manager::store::{self, Database, Durability, Store};
use serde_json::json;

use crate::args::{ServeArgs, TokenCommand, TokenReplace};
use crate::client::{SavedToken, WrittenFile, saved_token, write_client_file};
use crate::config::ServeConfig;
use crate::data_dir::{self, DATABASE, DataDir};
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;

/// Run a command about tokens.
///
/// # Errors
///
/// The configuration is wrong, there is no database, a server is using it, or it cannot be changed.
pub async fn run(command: TokenCommand, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let TokenCommand::Replace(TokenReplace { data_dir, config }) = command;
    let config = ServeConfig::resolve(&ServeArgs { data_dir, config, ..ServeArgs::default() }, env)?;
    let saved = saved_token(env);
    let replaced = replace(&config, saved.as_ref()).await;
    let Replaced { token, was_saved } =
        replaced.map_err(|error| CliError::Failed(format!("no token was replaced: {error:#}")))?;
    if terminal.json_wanted() {
        terminal.json(&json!({ "name": "admin", "token": token }))?;
    } else {
        terminal.line(&token)?;
    }
    terminal.note("this is the admin token now, shown only once; the old one is worth nothing any more");
    if let Some(saved) = saved.filter(|_| was_saved) {
        match write_client_file(env, &saved.server, Some(&token)) {
            Ok(WrittenFile::Written(path)) => terminal.note(&format!("{} has it, too", path.display())),
            Ok(_) => {}
            Err(error) => terminal.note(&format!("the command line still has the old one: {error:#}")),
        }
    }
    Ok(())
}

/// A token that has taken the place of another.
struct Replaced {
    /// Its text, which is stored nowhere else.
    token: String,
    /// Whether the other was the one that the client file has.
    was_saved: bool,
}

async fn replace(config: &ServeConfig, saved: Option<&SavedToken>) -> anyhow::Result<Replaced> {
    data_dir::keep_new_files_private();
    let database = config.data_dir.join(DATABASE);
    if !database.is_file() {
        bail!("there is no {}; the first start of a server makes it, and a token", database.display());
    }
    // Held to the end, so that no server starts meanwhile.
    let data = DataDir::open(&config.data_dir).context("stop the server first")?;
    let database = Database::open(&data.path(DATABASE), Durability::Full, &store::MIGRATOR).await?;
    let store = Store::open(database.clone(), Arc::new(SystemClock)).await?;
    let was_saved = match saved {
        Some(saved) => store.token_name(&saved.token).await?.is_some_and(|name| name == ADMIN),
        None => false,
    };
    let token = store.replace_admin_token().await?;
    database.close().await;
    Ok(Replaced { token, was_saved })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::commands::tests::picloud_in;
    use crate::exit::Exit;

    async fn open(folder: &Path) -> (DataDir, Database, Store) {
        let data = DataDir::open(folder).unwrap();
        let database =
            Database::open(&data.path(DATABASE), Durability::Full, &store::MIGRATOR).await.unwrap();
        let store = Store::open(database.clone(), Arc::new(SystemClock)).await.unwrap();
        (data, database, store)
    }

    /// A home directory with the data of a server that has run once, and its token.
    async fn home() -> (tempfile::TempDir, String) {
        let home = tempfile::tempdir().unwrap();
        let (_data, database, store) = open(&home.path().join("data")).await;
        let token = store.create_admin_token().await.unwrap().unwrap();
        database.close().await;
        (home, token)
    }

    async fn owner(home: &Path, token: &str) -> Option<String> {
        let (_data, database, store) = open(&home.join("data")).await;
        let name = store.token_name(token).await.unwrap();
        database.close().await;
        name
    }

    #[tokio::test]
    async fn the_new_token_is_printed_and_the_old_one_is_worth_nothing() {
        let (home, old) = home().await;
        let data = home.path().join("data").display().to_string();
        let ran = picloud_in(&[], &["token", "replace", "--data-dir", &data]).await.expect(Exit::Ok);
        let new = ran.out.strip_suffix('\n').unwrap();
        assert_eq!(owner(home.path(), new).await.as_deref(), Some("admin"));
        assert_eq!(owner(home.path(), &old).await, None);
        let ran = picloud_in(&[("PICLOUD_DATA_DIR", &data)], &["token", "replace", "-o", "json"]).await;
        let newest = ran.expect(Exit::Ok).json()["token"].as_str().unwrap().to_owned();
        assert_eq!(owner(home.path(), &newest).await.as_deref(), Some("admin"));
        assert_eq!(owner(home.path(), new).await, None);
    }

    #[tokio::test]
    async fn the_client_file_gets_the_new_token_if_it_had_the_old_one() {
        let (home, old) = home().await;
        let (folder, data) = (home.path().display().to_string(), home.path().join("data"));
        let data = data.display().to_string();
        let variables = [("HOME", folder.as_str()), ("PICLOUD_DATA_DIR", data.as_str())];
        let env = Env::of(variables);
        write_client_file(&env, "http://127.0.0.1:9000", Some(&old)).unwrap();
        let ran = picloud_in(&variables, &["token", "replace"]).await.expect(Exit::Ok);
        let saved = saved_token(&env).unwrap();
        assert_eq!((saved.token.as_str(), saved.server.as_str()), (ran.out.trim(), "http://127.0.0.1:9000"));

        let (data_dir, database, store) = open(&home.path().join("data")).await;
        let scope = picloud_manager::scope::Scope::parse("app:default:read").unwrap();
        let (other, _) = store
            .create_token(&picloud_manager::name::Name::parse("ci").unwrap(), &[scope], None)
            .await
            .unwrap();
        database.close().await;
        drop(data_dir);
        write_client_file(&env, "http://127.0.0.1:9000", Some(&other)).unwrap();
        picloud_in(&variables, &["token", "replace"]).await.expect(Exit::Ok);
        assert_eq!(saved_token(&env).unwrap().token, other, "it works as before");

        write_client_file(&env, "http://127.0.0.1:9000", Some("of_another_server")).unwrap();
        picloud_in(&variables, &["token", "replace"]).await.expect(Exit::Ok);
        assert_eq!(saved_token(&env).unwrap().token, "of_another_server");
    }

    #[tokio::test]
    async fn nothing_is_replaced_while_a_server_runs() {
        let (home, old) = home().await;
        let data = home.path().join("data").display().to_string();
        let server = open(&home.path().join("data")).await;
        let ran = picloud_in(&[], &["token", "replace", "--data-dir", &data]).await.expect(Exit::Failed);
        assert!(ran.err.contains("stop the server first: another server uses") && ran.out.is_empty());
        drop(server);
        assert_eq!(owner(home.path(), &old).await.as_deref(), Some("admin"));
    }

    #[tokio::test]
    async fn a_folder_without_a_database_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let words = ["token", "replace", "--data-dir", data.to_str().unwrap()];
        let ran = picloud_in(&[], &words).await.expect(Exit::Failed);
        assert!(ran.err.contains("there is no ") && !data.exists(), "{}", ran.err);
    }
}
