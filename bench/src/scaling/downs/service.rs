//! What the workers' handler posts jobs to: each takes as long as it says, and a request that ends before its answer was cut.
//!
//! That is what a job's own program would notice, however the job was counted in Redis: a worker that is told to end closes the
//! connection, and the kernel closes it for one that is killed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// A job as the worker posts it. How long it takes is what its user wrote into `start`, in milliseconds.
#[derive(Deserialize)]
struct Message {
    id: String,
    start: String,
    queue: String,
}

/// All runs of one job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Runs {
    /// Begun, whatever became of them.
    begun: usize,
    /// To their end.
    whole: usize,
    /// Ended before it.
    cut: usize,
}

impl Runs {
    pub(super) fn is_under_way(self) -> bool {
        self.begun > self.whole + self.cut
    }

    pub(super) fn is_cut(self) -> bool {
        self.cut > 0
    }

    pub(super) fn cuts(self) -> usize {
        self.cut
    }

    pub(super) fn is_done(self) -> bool {
        self.whole > 0
    }

    pub(super) fn is_done_twice(self) -> bool {
        self.whole > 1
    }
}

/// What became of each job. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(Arc<Mutex<HashMap<String, Runs>>>);

impl Ledger {
    pub(super) fn of(&self, id: &str) -> Runs {
        self.all().get(id).copied().unwrap_or_default()
    }

    /// A run begins; it is cut if what this answers goes before it is told to have ended.
    fn begin(&self, id: &str, story: String) -> Run {
        self.all().entry(id.to_owned()).or_default().begun += 1;
        Run {
            ledger: self.clone(),
            id: id.to_owned(),
            story,
            begun: SystemTime::now(),
            is_whole: false,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Runs>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Run {
    ledger: Ledger,
    id: String,
    /// For what is told of a cut: its queue, where it was run, and how long it should have taken.
    story: String,
    begun: SystemTime,
    is_whole: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut all = self.ledger.all();
        let runs = all.entry(self.id.clone()).or_default();
        if self.is_whole {
            runs.whole += 1;
            return;
        }
        runs.cut += 1;
        let [begun, cut] = [self.begun, SystemTime::now()].map(|at| {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            at.as_secs_f64()
        });
        eprintln!(
            "cut: job {} {}: begun at {begun:.3}, cut at {cut:.3}",
            self.id, self.story
        );
    }
}

/// Serves for as long as this program runs; the port.
pub(super) async fn serve(ledger: Ledger) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let port = listener.local_addr()?.port();
    let service = Router::new().route("/", post(run)).with_state(ledger);
    let service = service.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(port)
}

async fn run(
    State(ledger): State<Ledger>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Json(job): Json<Message>,
) -> StatusCode {
    let Ok(milliseconds) = job.start.parse() else {
        return StatusCode::UNPROCESSABLE_ENTITY;
    };
    let story = format!("of {} on {}, {milliseconds} ms long", job.queue, from.ip());
    let mut run = ledger.begin(&job.id, story);
    // A client that goes has this future dropped.
    sleep(Duration::from_millis(milliseconds)).await;
    run.is_whole = true;
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn post(port: u16, id: &str, milliseconds: u64) -> reqwest::Result<reqwest::Response> {
        let job = serde_json::json!({"id": id, "start": milliseconds.to_string(), "queue": "q"});
        let request = reqwest::Client::new().post(format!("http://127.0.0.1:{port}/"));
        let request = request.header("content-type", "application/json");
        request.body(job.to_string()).send().await
    }

    async fn until(ledger: &Ledger, id: &str, holds: fn(Runs) -> bool) {
        let look = async {
            while !holds(ledger.of(id)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(SOON, look).await.unwrap();
    }

    #[tokio::test]
    async fn run_whose_client_goes_is_cut_and_one_that_is_answered_is_whole() {
        let ledger = Ledger::default();
        let port = serve(ledger.clone()).await.unwrap();

        let going = tokio::spawn(async move { post(port, "a", 60_000).await.map(|_| ()) });
        until(&ledger, "a", Runs::is_under_way).await;
        assert!(!ledger.of("a").is_cut());
        going.abort();
        until(&ledger, "a", Runs::is_cut).await;
        assert!(!ledger.of("a").is_under_way() && !ledger.of("a").is_done());

        post(port, "a", 1).await.unwrap().error_for_status().unwrap();
        until(&ledger, "a", Runs::is_done).await;
        assert!(ledger.of("a").is_cut() && !ledger.of("a").is_done_twice());
    }
}
