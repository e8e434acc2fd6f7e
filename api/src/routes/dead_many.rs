//! `POST /dead/retry` and `DELETE /dead`: many at once, by their ids or all.

use std::time::Instant;

use axum::{
    extract::{Query, Request, State, rejection::QueryRejection},
    http::StatusCode,
    response::Response,
};
use queue::{Cursor, Producer};
use serde::{Deserialize, Serialize};

use super::{
    incoming::read,
    unavailable::{Unavailable, answered},
};
use crate::{answer::answer, app, error::Problem};

/// The most that one request names or does; then the client is told that there are more.
const MAX_AT_ONCE: usize = 10_000;

/// What is done to each.
#[derive(Clone, Copy)]
enum Deed {
    Retry,
    Delete,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Parameters {
    all: Option<String>,
}

type Asked = Result<Query<Parameters>, QueryRejection>;

/// Which of the dead.
enum Selection {
    These(Vec<String>),
    All,
}

#[derive(Serialize)]
struct RetriedMany {
    retried: u64,
    more: bool,
}

#[derive(Serialize)]
struct DeletedMany {
    deleted: u64,
    more: bool,
}

#[derive(Default)]
struct Tally {
    done: u64,
    more: bool,
}

pub(crate) async fn retry(State(state): State<app::State>, parameters: Asked, request: Request) -> Response {
    let work = async {
        let Tally { done, more } = carry_out(&state, Deed::Retry, parameters, request).await?;
        Ok(answer(StatusCode::OK, &RetriedMany { retried: done, more }))
    };
    state.metrics.measure("POST", "/dead/retry", work).await
}

pub(crate) async fn delete(State(state): State<app::State>, parameters: Asked, request: Request) -> Response {
    let work = async {
        let Tally { done, more } = carry_out(&state, Deed::Delete, parameters, request).await?;
        Ok(answer(StatusCode::OK, &DeletedMany { deleted: done, more }))
    };
    state.metrics.measure("DELETE", "/dead", work).await
}

async fn carry_out(
    state: &app::State,
    deed: Deed,
    parameters: Asked,
    request: Request,
) -> Result<Tally, Problem> {
    let Query(parameters) = parameters?;
    let body = read(request.into_body(), &state.settings).await?;
    match Selection::read(parameters.all.as_deref(), &body)? {
        Selection::These(ids) => {
            let done = deed.to(state, &ids).await?;
            Ok(Tally { done, more: false })
        }
        Selection::All => deed.to_all(state).await,
    }
}

impl Selection {
    /// Nothing by accident: either ids or all, and neither by silence.
    fn read(all: Option<&str>, body: &[u8]) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Named {
            ids: Option<Vec<String>>,
        }
        let ids = if body.trim_ascii().is_empty() {
            None
        } else {
            serde_json::from_slice::<Named>(body)
                .map_err(|error| {
                    let detail = format!("the body is no JSON object with `ids`, a list of strings: {error}");
                    Problem::new(StatusCode::BAD_REQUEST, detail)
                })?
                .ids
        };
        match (ids, all) {
            (Some(ids), None) if ids.len() <= MAX_AT_ONCE => Ok(Self::These(ids)),
            (Some(_), None) => {
                let detail = format!("`ids` may name {MAX_AT_ONCE} at most");
                Err(Problem::bad_field("ids", detail))
            }
            (None, Some("true")) => Ok(Self::All),
            (_, Some(all)) if all != "true" => Err(Problem::bad_field("all", "`all` can only be `true`")),
            (Some(_), Some(_)) => Err(Problem::bad_field("all", "either `ids` or `all`, not both")),
            _ => Err(Problem::bad_field(
                "ids",
                "which ones? Name them in the body, as {\"ids\": [...]}, or say ?all=true",
            )),
        }
    }
}

impl Deed {
    /// How many of these it was done to.
    async fn to(self, state: &app::State, ids: &[String]) -> Result<u64, Problem> {
        let producer = &state.producer;
        match self {
            Self::Retry => answered(state, "retry_dead", producer.retry_dead(ids)).await,
            Self::Delete => answered(state, "delete_dead", producer.delete_dead(ids)).await,
        }
        .map_err(|error| partly(&error))
    }

    /// As many as one request may do, in chunks, while its time lasts.
    async fn to_all(self, state: &app::State) -> Result<Tally, Problem> {
        let begun = Instant::now();
        let mut tally = Tally::default();
        let mut cursor: Option<Cursor> = None;
        while tally.done < MAX_AT_ONCE as u64 && begun.elapsed() < state.settings.timeout {
            let list = state.producer.dead(cursor.as_ref(), Producer::MAX_PAGE);
            let page = answered(state, "dead", list)
                .await
                .map_err(|error| partly(&error))?;
            let ids: Vec<_> = page.entries.into_iter().map(|dead| dead.member).collect();
            tally.done += self.to(state, &ids).await?;
            // What went has left the listing and what stayed is passed over: the next page begins at the same place.
            cursor = page.next;
            tally.more = cursor.is_some();
            if !tally.more {
                break;
            }
        }
        Ok(tally)
    }
}

fn partly(error: &Unavailable) -> Problem {
    error.problem("some may be done already; asking again is harmless")
}
