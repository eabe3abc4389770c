//! Makes an app of an archive: received into a file without a name, looked through, loaded, and only then there.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use http::header;
use http_body_util::BodyExt as _;
use picloud_host::call::AppId;
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::MEDIA_TYPE;
use super::load::{LeftOut, Loaded, load};
use super::plan::{Contents, Plan};
use super::unpack::{MAX_PACKED, walk};
use crate::api::State;
use crate::api::apps::{self, check_address};
use crate::api::body::check_type;
use crate::api::path::AppPath;
use crate::name::Name;
use crate::store::archive::NewApp;
use crate::store::{ChangeError, failed};

/// How long nothing of an archive may arrive.
const SILENCE: Duration = Duration::from_secs(60);

/// How long all of it may take to arrive: as long as it does, nobody else can send one.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How much is written to the disk at once, in bytes.
const BUFFER: usize = 1 << 20;

/// An archive that has arrived, for an app that is not there.
#[derive(Debug)]
pub(super) struct Upload {
    file: File,
    /// The place, which is free again when this is done.
    turn: OwnedSemaphorePermit,
}

impl FromRequest<State> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        check_type(MEDIA_TYPE, "archive", &parts.headers)?;
        let AppPath { app } = AppPath::from_request_parts(&mut parts, state).await?;
        check_address(&app)?;
        // Looked at again when it matters. Here, so that nobody sends a gigabyte for nothing.
        if state.store.app_id(&app).await?.is_some() {
            return Err(taken(&app));
        }
        let length = parts.headers.get(header::CONTENT_LENGTH);
        if length
            .and_then(|length| length.to_str().ok()?.parse().ok())
            .is_some_and(|length: u64| length > MAX_PACKED)
        {
            return Err(too_large());
        }
        let turn = state.backups.turn()?;
        let file = state.store.nameless_file("import").await?;
        let received = timeout(PATIENCE, receive(body, file)).await;
        Ok(Self { file: received.unwrap_or_else(|_| Err(Problem::new(Code::BodyTimeout)))?, turn })
    }
}

fn taken(app: &Name) -> Problem {
    let detail =
        format!("There is an app {app}, or a route of another one has taken this name: choose another name.");
    Problem::new(Code::NameTaken).detail(detail)
}

fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge).detail(format!("More than {MAX_PACKED} bytes."))
}

async fn receive(mut body: Body, mut file: File) -> Result<File, Problem> {
    let (mut received, mut waiting) = (0_u64, Vec::with_capacity(BUFFER));
    while let Some(frame) =
        timeout(SILENCE, body.frame()).await.map_err(|_| Problem::new(Code::BodyTimeout))?
    {
        let frame = frame.map_err(|_| Problem::new(Code::BodyIncomplete))?;
        let Some(data) = frame.data_ref() else { continue };
        received += data.len() as u64;
        if received > MAX_PACKED {
            return Err(too_large());
        }
        waiting.extend_from_slice(data);
        if waiting.len() >= BUFFER {
            (file, waiting) = write(file, waiting).await?;
        }
    }
    Ok(write(file, waiting).await?.0)
}

/// Write bytes, and give back the room that they had.
async fn write(mut file: File, mut bytes: Vec<u8>) -> Result<(File, Vec<u8>), Problem> {
    let written = tokio::task::spawn_blocking(move || {
        file.write_all(&bytes)?;
        bytes.clear();
        Ok::<_, std::io::Error>((file, bytes))
    });
    Ok(written.await.map_err(failed)?.map_err(failed)?)
}

/// An app that was made of an archive.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    app: apps::App,
    /// How many scripts it has.
    scripts: usize,
    /// How many versions they have together.
    versions: u64,
    /// How many routes it has.
    routes: usize,
    /// How many triggers it has.
    triggers: usize,
    /// How many configuration values it has.
    config: usize,
    /// How many keys it has.
    keys: u64,
    /// How many keys of the archive have expired, and are not there.
    expired_keys: u64,
    /// Secrets that the app had, and that have to be set anew.
    missing_secrets: Vec<String>,
    /// Versions that do not load here, and are not there. None of them was active.
    left_out: Vec<LeftOut>,
}

/// Make an app of an archive. Returns its entity tag, too.
pub(super) async fn import(
    state: &State,
    name: &Name,
    upload: Upload,
) -> Result<(String, Imported), Problem> {
    let Upload { file, turn } = upload;
    let (file, plan) = look(state, name, file).await?;
    let unfinished = state.removals.begin_app().await?;
    let id = unfinished.app;
    let Loaded { versions, keys, expired_keys, left_out } = load(state, file, &plan, id).await?;
    let (scripts, missing_secrets) = (plan.scripts.len(), plan.secrets.iter().map(Name::to_string).collect());
    let new = new_app(name, plan, id)?;
    let (routes, triggers, config) = (new.routes.len(), new.triggers.len(), new.config.len());
    let store = state.store.clone();
    let change = async move {
        let app = store.finish_app(id, &new).await;
        // Not before: whoever removes deleted apps would take it for one.
        drop(unfinished);
        app
    };
    let app = state.publisher.change(change).await.map_err(|error| match error {
        ChangeError::NameTaken => taken(name),
        error => error.into(),
    })?;
    state.schedules.changed();
    drop(turn);
    let tag = app.tag();
    let imported = Imported {
        app: apps::App::new(app, state),
        scripts,
        versions,
        routes,
        triggers,
        config,
        keys,
        expired_keys,
        missing_secrets,
        left_out,
    };
    Ok((tag, imported))
}

/// Look through all of an archive, and see what is to be made of it.
async fn look(state: &State, name: &Name, mut file: File) -> Result<(File, Plan), Problem> {
    let (state, name) = (state.clone(), name.clone());
    let look = tokio::task::spawn_blocking(move || {
        let mut contents = Contents::default();
        walk(&mut file, |member, size, data| contents.add(member, size, data))?;
        let plan = Plan::new(&state, &name, &contents)?;
        Ok((file, plan))
    });
    look.await.map_err(failed)?
}

fn new_app(name: &Name, plan: Plan, id: AppId) -> Result<NewApp, Problem> {
    let understood = |(route, config): (Name, picloud_host::route::RouteConfig)| {
        let route = config.understood(id, name.as_str(), route.as_str());
        Ok((route.map_err(|why| Problem::new(Code::RouteInvalid).detail(why))?, config))
    };
    Ok(NewApp {
        name: name.clone(),
        settings: plan.settings,
        http_policy: plan.http_policy,
        routes: plan.routes.into_iter().map(understood).collect::<Result<_, Problem>>()?,
        triggers: plan.triggers,
        config: plan.config,
    })
}
