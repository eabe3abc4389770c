//! What `picloud run` and `picloud test` give scripts beside requests: secrets (`--secret`) and configuration values (`--config`).

use std::path::Path;
use std::sync::Arc;

use picloud_host::secret::{AppConfig, AppSecrets, MIN_SECRET_BYTES, SecretText};
use picloud_manager::name::Name;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::args::GivenArgs;
use crate::commands::secrets;
use crate::exit::CliError;
use crate::output::Terminal;

/// What the app of the script has.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) secrets: Arc<AppSecrets>,
    pub(crate) config: Arc<AppConfig>,
}

/// Read the arguments and the files that they name.
pub(crate) fn read(args: &GivenArgs, terminal: &mut Terminal) -> Result<Settings, CliError> {
    let secrets = args.secrets.iter().map(|argument| {
        let (name, file) = named("--secret", "NAME=FILE", argument)?;
        Ok((name, Some(secret(file, terminal)?)))
    });
    let secrets = AppSecrets(secrets.collect::<Result<_, CliError>>()?);
    let config = args.config.iter().map(|argument| {
        let (name, value) = named("--config", "NAME=JSON", argument)?;
        let json: Result<&RawValue, _> = serde_json::from_str(value);
        let json = json.map_err(|error| CliError::Usage(format!("--config {name}: not JSON: {error}")))?;
        Ok((name, json.get().into()))
    });
    Ok(Settings { secrets: Arc::new(secrets), config: Arc::new(config.collect::<Result<_, CliError>>()?) })
}

fn named<'a>(flag: &str, form: &str, argument: &'a str) -> Result<(Arc<str>, &'a str), CliError> {
    let wrong = |why: &str| CliError::Usage(format!("{flag} is not {form}: {why}"));
    let (name, value) = argument.split_once('=').ok_or_else(|| wrong("there is no ="))?;
    let name = Name::parse(name).map_err(|error| wrong(&error.to_string()))?;
    Ok((name.as_str().into(), value))
}

fn secret(file: &str, terminal: &mut Terminal) -> Result<SecretText, CliError> {
    let wrong = |why: &str| CliError::Failed(format!("{file}: {why}"));
    let mut bytes = secrets::read(Some(Path::new(file)), false, terminal)?;
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| wrong("a secret is UTF-8"))?;
    let text = Zeroizing::new(text);
    if text.len() < MIN_SECRET_BYTES {
        return Err(wrong(&format!("a secret has {MIN_SECRET_BYTES} bytes at least")));
    }
    Ok(SecretText::new(text))
}
