//! The ceiling for POST /jobs: an axum handler that parses the same body and answers the same bytes, without Redis.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde::Deserialize;
use uuid::Uuid;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    start: Cow<'a, str>,
    #[serde(borrow)]
    end: Cow<'a, str>,
}

/// Serves until killed.
pub(crate) async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, Router::new().route("/jobs", post(submit))).await?;
    Ok(())
}

async fn submit(body: Bytes) -> Response {
    let Ok(Body { start, end }) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let id = Uuid::new_v4();
    let answer = format!(
        "{{\"status\": \"submitted\", \"start\": \"{start}\", \"end\": \"{end}\", \"id\": \"{id}\"}}\n"
    );
    ([(header::CONTENT_TYPE, "application/json")], answer).into_response()
}
