//! A request per job: what the service is told, and what its answer means.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use queue::{Cancel, NewJob, Payload, Progress, test_server::RedisServer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};

use crate::{
    command::ONE_ATTEMPT,
    common::{SHORT_LEASE, Worker, redis, wait_until},
};

/// A service that does what a job's `start` says. It ends on drop.
struct Service {
    address: SocketAddr,
    seen: Seen,
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct Seen(Arc<SeenInner>);

#[derive(Default)]
struct SeenInner {
    ready: AtomicBool,
    /// How often it was asked whether it is.
    looks: AtomicUsize,
    /// Requests with their headers, and from where they came.
    jobs: Mutex<Vec<(Value, HeaderMap, SocketAddr)>>,
    /// Jobs whose connection was closed before they were answered.
    cut_off: AtomicUsize,
}

impl Service {
    fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), true)
    }

    fn start_at(address: SocketAddr, ready: bool) -> Self {
        let runtime = Runtime::new().unwrap();
        let seen = Seen::default();
        seen.0.ready.store(ready, Ordering::Relaxed);
        let app = Router::new()
            .route("/jobs", post(job))
            .route("/ready", get(readiness))
            .with_state(seen.clone())
            .into_make_service_with_connect_info::<SocketAddr>();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            seen,
            _runtime: runtime,
        }
    }

    fn jobs(&self) -> usize {
        self.seen.0.jobs.lock().unwrap().len()
    }

    /// Waits until it was asked so many times more whether it is ready.
    fn wait_for_looks(&self, more: usize) {
        let looks = || self.seen.0.looks.load(Ordering::Relaxed);
        let before = looks();
        wait_until("it is asked", || looks() >= before + more);
    }

    fn set_ready(&self, ready: bool) {
        self.seen.0.ready.store(ready, Ordering::Relaxed);
    }
}

async fn readiness(State(seen): State<Seen>) -> StatusCode {
    seen.0.looks.fetch_add(1, Ordering::Relaxed);
    if seen.0.ready.load(Ordering::Relaxed) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

async fn job(
    State(seen): State<Seen>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let told: Value = serde_json::from_slice(&body).unwrap();
    let start = told["start"].as_str().unwrap().to_owned();
    seen.0.jobs.lock().unwrap().push((told, head.headers, from));
    let (verb, rest) = start.split_once(' ').unwrap_or((&start, ""));
    match verb {
        "text" => rest.to_owned().into_response(),
        "png" => ([(CONTENT_TYPE, "image/png")], &b"\x89PNG\r\n\x1a\n\0"[..]).into_response(),
        "zeros" => vec![0; rest.parse().unwrap()].into_response(),
        "status" => {
            let status: u16 = rest.parse().unwrap();
            (StatusCode::from_u16(status).unwrap(), "x".repeat(5_000)).into_response()
        }
        "later" => {
            let status: u16 = rest.parse().unwrap();
            (StatusCode::from_u16(status).unwrap(), [(RETRY_AFTER, "3600")]).into_response()
        }
        "hang" => {
            // Dropped with the request, when its connection is closed.
            struct CutOff(Seen);
            impl Drop for CutOff {
                fn drop(&mut self) {
                    self.0.0.cut_off.fetch_add(1, Ordering::Relaxed);
                }
            }
            let _cut_off = CutOff(seen);
            let (_never, wait) = oneshot::channel::<()>();
            let _ = wait.await;
            StatusCode::OK.into_response()
        }
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

fn start_worker(redis: &RedisServer, service: SocketAddr, settings: &[(&str, &str)]) -> Worker {
    let (url, ready) = (
        format!("http://{service}/jobs"),
        format!("http://{service}/ready"),
    );
    let mut all = vec![
        ("WORKERPOOL_HANDLER", "http"),
        ("WORKERPOOL_HTTP_URL", &url),
        ("WORKERPOOL_HTTP_READY_URL", &ready),
    ];
    all.extend(settings);
    Worker::start(redis, "10.0.0.7", &all)
}

#[test]
fn service_is_told_the_job_and_its_answer_is_the_result() {
    let (redis, view) = redis();
    let service = Service::start();
    let worker = start_worker(&redis, service.address, &[]);
    let id = view.submit_new(NewJob {
        payload: Some(Payload::new(r#"{"a": 1}"#).unwrap()),
        ..NewJob::new("png", "64x64")
    });
    view.wait_for_status(&id, "complete");
    let body = b"\x89PNG\r\n\x1a\n\0".to_vec();
    assert_eq!(view.result(&id), Some(("image/png".to_owned(), body)));
    let jobs = service.seen.0.jobs.lock().unwrap();
    let (told, headers, _) = &jobs[0];
    assert_eq!(
        *told,
        json!({"id": id, "start": "png", "end": "64x64", "attempt": 1, "queue": "queue", "payload": {"a": 1}})
    );
    assert_eq!(headers["x-job-id"], id.as_str());
    assert_eq!(headers["x-job-attempt"], "1");
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["x-progress-url"].to_str().unwrap().ends_with("/progress"));
    drop(jobs);
    let id = view.submit_job("nothing", "");
    view.wait_for_status(&id, "complete");
    assert_eq!(view.result(&id), None);
    assert_eq!(worker.ends(&id), "complete");
}

#[test]
fn connections_are_kept() {
    let (redis, view) = redis();
    let service = Service::start();
    let _worker = start_worker(&redis, service.address, &[]);
    for id in (0..20).map(|_| view.submit_job("text x", "")).collect::<Vec<_>>() {
        view.wait_for_status(&id, "complete");
    }
    let jobs = service.seen.0.jobs.lock().unwrap();
    let from: std::collections::BTreeSet<_> = jobs.iter().map(|(_, _, from)| from).collect();
    // One, and one more for each time that it was not used for a while.
    assert!(from.len() < 10, "{} connections for 20 jobs", from.len());
}

/// The timer of a connection, as the kernel shows it: its kind, and in how many hundredths of a second it ends. Connections to other
/// servers may have the same local address. <https://docs.kernel.org/networking/proc_net_tcp.html>
fn tcp_timer(local: SocketAddr, remote: SocketAddr) -> Option<(u8, u32)> {
    let (local, remote) = (as_in_proc(local)?, as_in_proc(remote)?);
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = table.lines().map(|line| line.split_ascii_whitespace());
    let timer = rows.find_map(|mut fields| {
        let is_it = fields.nth(1)? == local && fields.next()? == remote;
        is_it.then(|| fields.nth(2))?
    })?;
    let (kind, time) = timer.split_once(':')?;
    Some((kind.parse().ok()?, u32::from_str_radix(time, 16).ok()?))
}

fn as_in_proc(address: SocketAddr) -> Option<String> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    Some(format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(ip.octets()),
        address.port()
    ))
}

#[test]
fn connection_is_probed_while_a_job_takes_long() {
    const KEEPALIVE: u8 = 2;
    let (redis, view) = redis();
    let service = Service::start();
    let _worker = start_worker(&redis, service.address, &[]);
    view.submit_job("hang", "");
    wait_until("the service has it", || service.jobs() == 1);
    let (_, _, from) = service.seen.0.jobs.lock().unwrap()[0];
    wait_until("its connection is probed", || {
        tcp_timer(from, service.address).is_some_and(|(kind, time)| kind == KEEPALIVE && time <= 1_000)
    });
}

#[test]
fn refusal_fails_the_attempt_and_says_what_the_service_said() {
    let (redis, view) = redis();
    let service = Service::start();
    let _worker = start_worker(&redis, service.address, &[ONE_ATTEMPT]);
    for (start, error) in [
        ("status 500", "500 Internal Server Error: xxx"),
        ("status 404", "404 Not Found: xxx"),
        ("status 503", "503 Service Unavailable: xxx"),
        ("zeros 1048577", "its result is longer than 1048576 bytes"),
    ] {
        let id = view.submit_job(start, "");
        view.wait_for_status(&id, "failed");
        let said = view.details(&id).error.unwrap();
        assert!(said.starts_with(error), "{said}");
    }
}

#[test]
fn service_that_says_later_gets_the_job_later_and_nothing_is_spent() {
    let (redis, view) = redis();
    let service = Service::start();
    let worker = start_worker(&redis, service.address, &[ONE_ATTEMPT]);
    for start in ["later 429", "later 503"] {
        let id = view.submit_job(start, "");
        assert_eq!(worker.ends(&id), "postponed");
        assert_eq!(view.status(&id), "submitted");
        assert_eq!(view.details(&id).failures, 0);
    }
}

#[test]
fn nothing_is_taken_until_the_service_is_ready_nor_while_it_is_not() {
    let (redis, view) = redis();
    // Nobody listens there yet.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let first = view.submit_job("text x", "");
    let worker = start_worker(&redis, address, &[]);
    worker.logs("ready for jobs");
    let service = Service::start_at(address, false);
    service.wait_for_looks(3);
    assert_eq!(worker.claims(), 0);
    assert_eq!(view.status(&first), "submitted");
    service.set_ready(true);
    view.wait_for_status(&first, "complete");

    service.set_ready(false);
    worker.logs("the service is not ready: no job is taken until it is");
    let (status, said) = worker.get("/readyz");
    assert_eq!(status, 200);
    assert!(said.contains("[!]handler: the service at http://"), "{said}");
    let second = view.submit_job("text x", "");
    service.wait_for_looks(3);
    assert_eq!(view.status(&second), "submitted");
    assert_eq!(service.jobs(), 1);
    service.set_ready(true);
    view.wait_for_status(&second, "complete");
}

#[test]
fn job_that_meets_no_service_waits_for_it_and_has_spent_nothing() {
    let (redis, view) = redis();
    let service = Service::start();
    let address = service.address;
    let worker = start_worker(&redis, address, &[ONE_ATTEMPT, ("WORKERPOOL_MAX_LOST", "1")]);
    let before = view.submit_job("text x", "");
    view.wait_for_status(&before, "complete");
    drop(service);
    let id = view.submit_job("text x", "");
    worker.logs("the service is not ready: no job is taken until it is");
    assert_eq!(view.details(&id).failures, 0);
    let _service = Service::start_at(address, true);
    view.wait_for_status(&id, "complete");
}

#[test]
fn cancelled_and_late_jobs_close_their_connections() {
    let (redis, view) = redis();
    let service = Service::start();
    let settings = [ONE_ATTEMPT, SHORT_LEASE, ("WORKERPOOL_JOB_TIMEOUT_SECONDS", "8")];
    let worker = start_worker(&redis, service.address, &settings);
    let id = view.submit_job("hang", "");
    wait_until("the service has it", || service.jobs() == 1);
    assert_eq!(view.cancel(&id), Cancel::Requested);
    view.wait_for_status(&id, "cancelled");
    wait_until("the connection is closed", || {
        service.seen.0.cut_off.load(Ordering::Relaxed) == 1
    });
    let late = view.submit_job("hang", "");
    view.wait_for_status(&late, "failed");
    assert_eq!(worker.ends(&late), "timed_out");
    wait_until("the connection is closed", || {
        service.seen.0.cut_off.load(Ordering::Relaxed) == 2
    });
}

#[test]
fn progress_that_a_service_posts_is_seen() {
    let (redis, view) = redis();
    let service = Service::start();
    let worker = start_worker(&redis, service.address, &[SHORT_LEASE]);
    let id = view.submit_job("hang", "");
    wait_until("the service has it", || service.jobs() == 1);
    let url = service.seen.0.jobs.lock().unwrap()[0].1["x-progress-url"].clone();
    let path = url.to_str().unwrap().splitn(4, '/').nth(3).unwrap().to_owned();
    let (status, _) = worker.post(&format!("/{path}"), r#"{"percent": 30, "message": "thinking"}"#);
    assert_eq!(status, 204);
    let seen = Some(Progress {
        percent: Some(30),
        message: "thinking".to_owned(),
    });
    wait_until("it is seen", || view.job(&id).progress == seen);
    let (status, said) = worker.post("/jobs/other/progress", r#"{"percent": 30}"#);
    assert_eq!(
        (status, said.as_str()),
        (404, "this worker does not hold the job \"other\" now\n")
    );
}
