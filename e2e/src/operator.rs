//! The operator's process, and its sudden death.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::Mutex;

use crate::process;
use crate::wait::{Look, eventually};

/// The operator's pod as the kubelet tells of it.
#[derive(Debug, PartialEq, Eq)]
struct Running {
    uid: String,
    restarts: u32,
    ready: bool,
}

/// Two tests that kill the operator at once would each see the other's restart.
static KILLING: Mutex<()> = Mutex::const_new(());

/// How long the Lease may be nobody's, or a dead one's.
const LEADS_WITHIN: Duration = Duration::from_secs(20);

/// Kills the operator's process with SIGKILL: nothing is said or tidied up any more. Answers when its container has been
/// started again and is ready, or another one leads.
///
/// # Errors
/// When its process is not on this machine, or none leads within 180 s.
pub async fn kill_operator() -> Result<()> {
    let _alone = KILLING.lock().await;
    let before = leader("an operator leads", LEADS_WITHIN, |_| true).await?;
    kill(&before).await?;
    leader(
        "an operator is ready and leads",
        Duration::from_secs(180),
        |now| now.ready && (now.uid != before.uid || now.restarts > before.restarts),
    )
    .await?;
    Ok(())
}

/// Lets a second operator stand by, kills the one that leads with SIGKILL, and does `work` while it is dead. The standby goes
/// away again, whatever became of it.
///
/// # Errors
/// With the work's own error; when the standby does not lead within 20 s, or did not before the killed one was back.
pub async fn kill_leader_beside_a_standby(work: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let _alone = KILLING.lock().await;
    scale_operator(2).await?;
    let worked = async {
        let before = leader("an operator leads", LEADS_WITHIN, |_| true).await?;
        kill(&before).await?;
        let after = leader("the standby leads", LEADS_WITHIN, |now| now.uid != before.uid).await?;
        work().await?;
        let now = running().await?;
        ensure!(now.uid == after.uid, "{now:?} led meanwhile, not {after:?}");
        Ok(())
    }
    .await;
    scale_operator(1).await?;
    worked
}

/// Does `work` while no operator runs. One runs again afterwards, whatever became of the work.
///
/// # Errors
/// With the work's own error; when the operator does not end, or does not come back.
pub async fn without_operator<T>(work: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    let _alone = KILLING.lock().await;
    scale_operator(0).await?;
    let pods = ["pod", "--selector=app.kubernetes.io/name=workerpool-operator"];
    let system = [
        "-n",
        "workerpool-system",
        "wait",
        "--for=delete",
        "--timeout=120s",
    ];
    let worked = match process::succeed("kubectl", &[&system[..], &pods].concat(), "").await {
        Ok(_) => work().await,
        Err(error) => Err(error),
    };
    scale_operator(1).await?;
    worked
}

async fn scale_operator(replicas: u32) -> Result<()> {
    let deployment = "deployment/workerpool-operator";
    let system = ["-n", "workerpool-system"];
    let count = format!("--replicas={replicas}");
    process::succeed(
        "kubectl",
        &[&system[..], &["scale", deployment, &count]].concat(),
        "",
    )
    .await?;
    let status = ["rollout", "status", deployment, "--timeout=180s"];
    process::succeed("kubectl", &[&system[..], &status].concat(), "").await?;
    Ok(())
}

async fn kill(operator: &Running) -> Result<()> {
    let process =
        process_of(&operator.uid).context("the operator runs on another machine: dev/cluster exec")?;
    process::succeed("kill", &["-KILL", &process], "").await?;
    Ok(())
}

/// Waits for an operator that leads and is as it should be.
async fn leader(what: &str, within: Duration, fits: impl Fn(&Running) -> bool) -> Result<Running> {
    eventually(what, within, async || {
        let now = running().await?;
        Ok(if fits(&now) {
            Look::Seen(now)
        } else {
            Look::NotYet(format!("{now:?}"))
        })
    })
    .await
}

/// The operator that leads: the Lease names it by its pod, with something behind that no other process has. An error in the moment
/// after one has given the Lease back.
async fn running() -> Result<Running> {
    let lease = [
        "-n",
        "workerpool-system",
        "get",
        "lease",
        "workerpool-operator",
        "-o",
    ];
    let holder = [&lease[..], &["jsonpath={.spec.holderIdentity}"]].concat();
    let holder = process::succeed("kubectl", &holder, "").await?;
    let (pod, _) = holder.split_once('_').context("nobody leads")?;
    let status = ".status.containerStatuses[0]";
    let columns = format!("jsonpath={{.metadata.uid}} {{{status}.restartCount}} {{{status}.ready}}");
    let arguments = ["-n", "workerpool-system", "get", "pod", pod, "-o", &columns];
    let answer = process::succeed("kubectl", &arguments, "").await?;
    let words: Vec<&str> = answer.split(' ').collect();
    ensure!(words.len() == 3, "not the status of a pod: {answer:?}");
    Ok(Running {
        uid: words[0].to_owned(),
        restarts: words[1].parse()?,
        ready: words[2] == "true",
    })
}

/// The id of the process whose control group is this pod's and that is the operator (the pod has another one, that pauses).
fn process_of(pod: &str) -> Option<String> {
    let group = format!("/pod{pod}/");
    let read = |process: &Path, file: &str| std::fs::read_to_string(process.join(file)).unwrap_or_default();
    std::fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find_map(|process| {
            let found = read(&process, "cgroup").contains(&group)
                && read(&process, "cmdline").contains("workerpool-operator");
            found.then(|| {
                process
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
            })?
        })
}
