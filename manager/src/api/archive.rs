//! Archives over REST: all of an app in one file, and an app out of one.

mod document;
mod export;
mod import;
mod line;
mod load;
mod pack;
mod plan;
mod unpack;

use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use picloud_host::ingress::AnswerRoom;
use picloud_host::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Admin, AppAdmin};
use crate::api::backup::send;
use crate::api::path::AppPath;
use crate::api::precondition::etag;
use crate::store::failed;
use import::{Imported, Upload};

/// The media type of an archive.
const MEDIA_TYPE: &str = "application/gzip";

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_archive, put_archive))
}

/// Get all of an app in one file.
///
/// It is as everything was at one moment. The server goes on meanwhile. In it are scripts with all versions, routes, triggers,
/// configuration, keys with their values, and the names of secrets; not in it are the values of secrets, events, records of
/// executions, and tokens.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/archive", tag = "apps", security(("token" = ["app:{app}:admin"])), params(AppPath),
    responses(
        (status = 200, description = "A tar archive, compressed with gzip.", body = Vec<u8>, content_type = "application/gzip"),
        (status = 404, description = "`app-not-found`"),
        (status = 503, description = "`saturated`: another archive is being made; `storage-unavailable`"),
    ),
)]
async fn get_archive(
    _: AppAdmin,
    state: State,
    path: AppPath,
    Extension(room): Extension<AnswerRoom>,
) -> Result<Response, Problem> {
    // Sending it may take as long as somebody likes. That is at the expense of the app, and of no other one.
    let app = state.app_id(&path.app).await?;
    let sending = state.backups.sending(app)?;
    let turn = state.backups.turn_of_export()?;
    let file = export::export(&state, &path.app).await?;
    drop(turn);
    let rewound = tokio::task::spawn_blocking(move || rewound(file)).await.map_err(failed)?;
    let (file, length) = rewound.map_err(failed)?;
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE.to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}.tar.gz\"", path.app)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(send(file, length, sending, &room))).into_response())
}

/// From its beginning, with its length.
fn rewound(mut file: File) -> std::io::Result<(File, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// Make an app of an archive.
///
/// The app must not be there yet; its name may be another one than in the archive. All of it is there with the answer, or
/// nothing is. Every version is loaded first, as at its upload. Secrets have to be set anew: `missing_secrets` names them.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/archive", tag = "apps", security(("token" = ["admin"])), params(AppPath),
    request_body(description = "The archive, 4 GiB at most.", content((Vec<u8> = "application/gzip"))),
    responses(
        (status = 201, description = "The app is there.", body = Imported,
         headers(("ETag" = String), ("Location" = String))),
        (status = 400, description = "`name-invalid`, `body-incomplete`"),
        (status = 409, description = "`name-taken`, `route-conflict`, `too-many-apps`, `too-many-routes`, `too-many-triggers`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`archive-invalid`; of a script: `compile-failed`, `top-level-failed`, `top-level-limit`"),
        (status = 503, description = "`saturated`: a backup is being made, or another archive taken; `storage-unavailable`"),
        (status = 507, description = "`kv-quota-exceeded`"),
    ),
)]
async fn put_archive(_: Admin, state: State, path: AppPath, upload: Upload) -> Result<Response, Problem> {
    let location = format!("/api/v1/apps/{}", path.app);
    let (tag, imported) = import::import(&state, &path.app, upload).await?;
    let headers = [(header::ETAG, etag(&tag)), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, Json(imported)).into_response())
}
