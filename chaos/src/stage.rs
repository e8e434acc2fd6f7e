//! What plays in a run: Redis, the API, the workers.

use std::{
    collections::HashMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use anyhow::{Context, bail};
use tokio::{process::Command, task::JoinSet};

use crate::{
    clock,
    config::{Args, Work},
    faults::{Kind, has_proxy},
    history::Keys,
    process::Supervised,
    proxy::Proxy,
    python,
    redis_server::Redis,
};

/// The queue of a run.
pub(crate) const QUEUE: &str = "queue";

/// Of the services; the run has its network for itself.
const SERVICE_PORT: u16 = 8080;

/// All processes of a run but the clients, which are tasks.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) redis: Arc<Redis>,
    pub(crate) api: Supervised,
    pub(crate) api_address: SocketAddr,
    pub(crate) workers: Vec<Supervised>,
    /// Beside the workers, if they do the work.
    pub(crate) services: Vec<Supervised>,
    /// By worker, of those that have one.
    pub(crate) proxies: HashMap<usize, Proxy>,
    /// Programs of the original's kind; none if they take no part.
    pub(crate) python: Vec<Supervised>,
    pub(crate) folder: PathBuf,
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn set(args: &Args, folder: PathBuf) -> anyhow::Result<Self> {
        for part in ["effects", "logs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let kinds = args.kinds();
        let redis = Arc::new(Redis::start(args.fsync, Keys::of(QUEUE), &folder.join("redis"))?);
        let api_address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let api = start_api(&redis, api_address, &folder)?;
        let (mut workers, mut services, mut proxies) = (Vec::new(), Vec::new(), HashMap::new());
        for number in 0..args.workers.into() {
            let mut address = SocketAddr::from((worker_address(number), redis.port()));
            if kinds.contains(&Kind::Latency) && has_proxy(number) {
                let proxy = Proxy::start(proxy_address(number), address).await?;
                address = proxy.address();
                proxies.insert(number, proxy);
            }
            let clock = kinds
                .contains(&Kind::Clock)
                .then(|| clock::offset(number))
                .flatten();
            if args.handler == Work::Http {
                services.push(start_service(number, &folder)?);
            }
            workers.push(start_worker(args, address, clock, number, &folder)?);
        }
        let python = if kinds.contains(&Kind::Python) {
            let address = format!("{}:{}", Ipv4Addr::LOCALHOST, redis.port());
            python::start(&address, python::share(args.jobs), &folder)?
        } else {
            Vec::new()
        };
        Ok(Self {
            redis,
            api,
            api_address,
            workers,
            services,
            proxies,
            python,
            folder,
        })
    }

    /// Ends all programs but Redis, which stays, to be looked at.
    pub(crate) async fn clear(self) -> (Arc<Redis>, PathBuf) {
        // All at once: each may take its grace time.
        let programs: JoinSet<()> = self
            .workers
            .into_iter()
            .chain(self.python)
            .map(Supervised::end)
            .collect();
        programs.join_all().await;
        let services: JoinSet<()> = self.services.into_iter().map(Supervised::end).collect();
        services.join_all().await;
        self.api.end().await;
        (self.redis, self.folder)
    }
}

fn start_api(redis: &Redis, address: SocketAddr, folder: &Path) -> anyhow::Result<Supervised> {
    let program = ours("workerpool-api")?;
    let redis = format!("{}:{}", Ipv4Addr::LOCALHOST, redis.port());
    let log = folder.join("logs/api");
    Ok(Supervised::start("api".to_owned(), move || {
        let mut command = Command::new(&program);
        command
            .args([
                "--redis-address",
                &redis,
                "--listen-address",
                &address.to_string(),
            ])
            .args(["--grace-seconds", "1"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(append(&log)?);
        Ok(command)
    }))
}

fn start_worker(
    args: &Args,
    redis: SocketAddr,
    clock: Option<&'static str>,
    number: usize,
    folder: &Path,
) -> anyhow::Result<Supervised> {
    let program = ours("chaos-worker")?;
    let handler = match args.handler {
        Work::Inside => Vec::new(),
        Work::Command => vec!["--program".to_owned(), ours("chaos-job")?.display().to_string()],
        Work::Http => vec![
            "--service".to_owned(),
            format!("http://{}/jobs", service_address(number)),
        ],
    };
    let supervised = args.handler == Work::Command;
    let redis = redis.to_string();
    let clock = clock.map(clock::environment).transpose()?;
    let log = folder.join(format!("logs/worker-{number}"));
    let effects = folder.join("effects");
    let args = args.clone();
    let mut lives = 0_u32;
    let worker = Supervised::start(format!("worker {number}"), move || {
        lives += 1;
        let mut command = Command::new(&program);
        command
            .args(["--redis-address", &redis, "--queue", QUEUE])
            .args(["--worker-ip", &format!("worker-{number}")])
            .args(["--pod-uid", &pod(number, lives)])
            .args(["--telemetry-address", "127.0.0.1:0"])
            .args(["--concurrency", &args.concurrency.to_string()])
            .args(["--lease-ms", &args.lease_ms.as_millis().to_string()])
            .args(["--grace-ms", &args.grace_ms.as_millis().to_string()])
            .args([
                "--job-timeout-seconds",
                &args.job_timeout_ms.as_secs_f64().to_string(),
            ])
            .args(["--max-attempts", &args.max_attempts.to_string()])
            .args(["--max-lost", &args.max_lost.to_string()])
            // How each job ended is what the worker was told: one of the witnesses.
            .args(["--log", "info,worker::endings=debug", "--log-format", "json"])
            .args(&handler)
            .arg("--effects")
            .arg(effects.join(format!("worker-{number}-{lives}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(append(&log)?);
        if let Some(clock) = &clock {
            command.envs(clock.iter().cloned());
        }
        Ok(command)
    });
    Ok(if supervised { worker.by_its_child() } else { worker })
}

fn start_service(number: usize, folder: &Path) -> anyhow::Result<Supervised> {
    let program = ours("chaos-service")?;
    let log = folder.join(format!("logs/service-{number}"));
    let effects = folder.join("effects");
    let mut lives = 0_u32;
    Ok(Supervised::start(format!("service {number}"), move || {
        lives += 1;
        let mut command = Command::new(&program);
        command
            .args(["--address", &service_address(number).to_string()])
            .arg("--effects")
            .arg(effects.join(format!("service-{number}-{lives}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(append(&log)?);
        Ok(command)
    }))
}

/// The UID of the pod in which the worker `number` lives its `life`th life: another one each time, as in Kubernetes.
pub(crate) fn pod(number: usize, life: u32) -> String {
    format!("pod-{number}-{life}")
}

/// How the worker `number` reaches Redis: an address of loopback that no other one uses, so that it can be cut off
/// alone.
pub(crate) fn worker_address(number: usize) -> Ipv4Addr {
    address(1, number)
}

/// Where the proxy of the worker `number` listens.
fn proxy_address(number: usize) -> Ipv4Addr {
    address(2, number)
}

/// Where the service of the worker `number` listens.
fn service_address(number: usize) -> SocketAddr {
    (address(3, number), SERVICE_PORT).into()
}

fn address(net: u8, number: usize) -> Ipv4Addr {
    // At most 200 workers, by their flag.
    Ipv4Addr::new(127, 0, net, u8::try_from(number + 1).unwrap_or(u8::MAX))
}

/// A program of ours: it lies beside this one, where cargo put both.
fn ours(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!(
            "{} is missing: run it by chaos/run, which builds it",
            path.display()
        );
    }
    Ok(path)
}

/// Where a program's log goes.
pub(crate) fn append(path: &Path) -> anyhow::Result<Stdio> {
    let file = File::options().create(true).append(true).open(path);
    Ok(file
        .with_context(|| format!("cannot write {}", path.display()))?
        .into())
}
