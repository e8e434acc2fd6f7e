//! Workers that time what they do with a job: `handlers KIND REDIS_PORT QUEUE TARGET`. `command` and `http` are the stock
//! worker's handlers; `command-by-hand` and `http-by-hand` do the same without any of what these promise. A job leaves two marks,
//! when its handler is called and when it has answered.

use std::io::{self, Write};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::http::{Request, Uri, header::CONTENT_TYPE};
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use queue::JobResult;
use serde_json::json;
use worker::config::WorkerArgs;
use worker::handler::command::{self, Command, StdinContent, Third};
use worker::handler::http::{self, Http};
use worker::{Context, Handler, Outcome, program};
use workerpool_bench::marks::{Marker, Phase};

#[derive(Parser)]
struct WorkerProgram {
    #[command(flatten)]
    worker: WorkerArgs,
}

fn main() -> anyhow::Result<()> {
    // Before anything else opens a file.
    let third = Third::reserve();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, port, queue, target] = arguments.as_slice() else {
        bail!("give a kind of handler, Redis' port, a queue and what is run or asked");
    };
    let marker = Marker::from_env()?;
    // As the stock worker has it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match kind.as_str() {
            "command" => {
                let settings = command::Settings {
                    argv: vec![target.into()],
                    stdin: StdinContent::default(),
                    kill_grace: Duration::from_secs(10),
                    max_result: JobResult::MAX_BODY,
                };
                work(port, queue, marker, Command::new(settings, third?)?).await
            }
            "command-by-hand" => work(port, queue, marker, program_by_hand(target.clone())).await,
            "http" => {
                let settings = http::Settings {
                    url: http::url(target)?,
                    ready_url: None,
                    max_result: JobResult::MAX_BODY,
                };
                work(port, queue, marker, Http::new(settings)).await
            }
            "http-by-hand" => work(port, queue, marker, request_by_hand(http::url(target)?)).await,
            _ => bail!("no kind {kind:?}"),
        }
    })
}

/// The whole program, one job at a time, as quiet as the other tables' workers.
async fn work(port: &str, queue: &str, marker: Marker, handler: impl Handler) -> anyhow::Result<()> {
    let redis = format!("--redis-address=127.0.0.1:{port}");
    let queue = format!("--queue={queue}");
    let flags = [
        "handlers",
        &redis,
        &queue,
        "--telemetry-address=127.0.0.1:0",
        "--log=error",
    ];
    let config = WorkerProgram::parse_from(flags).worker.validate()?;
    program::run(config, Timed { handler, marker }).await
}

/// Marks when a handler is called and when it has answered that the work is done.
struct Timed<H> {
    handler: H,
    marker: Marker,
}

impl<H: Handler> Handler for Timed<H> {
    async fn handle(&self, context: Context) -> Outcome {
        let Ok(number) = context.job.start.parse() else {
            return Outcome::failed("the job has no number");
        };
        if let Err(error) = self.marker.mark(number, Phase::Started) {
            return Outcome::failed(error);
        }
        let outcome = self.handler.handle(context).await;
        match &outcome {
            Outcome::Done | Outcome::DoneWith(_) => match self.marker.mark(number, Phase::Ended) {
                Ok(()) => outcome,
                Err(error) => Outcome::failed(error),
            },
            _ => outcome,
        }
    }

    async fn ready(&self) {
        self.handler.ready().await;
    }

    fn stop_patience(&self) -> Duration {
        self.handler.stop_patience()
    }
}

/// What is told of a job, as far as it is public.
fn message(context: &Context) -> String {
    let job = &context.job;
    let message = json!({
        "id": job.id.as_str(), "start": job.start, "end": job.end,
        "attempt": context.attempt, "queue": context.queue.as_str(), "payload": null,
    });
    format!("{message}\n")
}

/// The least code that runs a program with a job on its stdin and takes its stdout.
fn program_by_hand(program: String) -> impl Handler {
    move |context: Context| {
        let ran = run(&program, &message(&context));
        async move { Outcome::from(ran) }
    }
}

fn run(program: &str, message: &str) -> Result<(), String> {
    let ran = || {
        let mut child = Process::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(message.as_bytes()) {
                // One that does not want to read it need not.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                _ => {}
            }
        }
        child.wait_with_output()
    };
    match ran() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(output.status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// The bare call, by a client like the handler's own.
fn request_by_hand(url: Uri) -> impl Handler {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build::<_, Full<Bytes>>(connector);
    move |context: Context| {
        let (client, url) = (client.clone(), url.clone());
        async move {
            Outcome::from(
                post(&client, url, message(&context))
                    .await
                    .map_err(|e| format!("{e:#}")),
            )
        }
    }
}

async fn post(client: &Client<HttpConnector, Full<Bytes>>, url: Uri, message: String) -> anyhow::Result<()> {
    let request = Request::post(url)
        .header(CONTENT_TYPE, "application/json")
        .body(message.into())?;
    let answer = client.request(request).await?;
    if !answer.status().is_success() {
        bail!("{}", answer.status());
    }
    answer.into_body().collect().await.context("no body")?;
    Ok(())
}
