//! The original's README, from its first command to its last, with a WorkerPool in the place of the worker's Deployment. The one
//! test that keeps the original's pace: 15 s a job.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use workerpool_e2e::{Data, HW7, Job, Namespace, Witness, in_namespace, project};

/// Ten jobs of 15 s on two workers take 75 s.
const TEN_JOBS: Duration = Duration::from_secs(140);

#[tokio::test]
#[ignore = "needs a cluster"]
async fn the_originals_readme_works_from_its_first_command_to_its_last() -> Result<()> {
    in_namespace("readme", async |ns| {
        let redis = ns.deploy_redis().await?;
        let api = ns.deploy_api().await?;
        let witness = Witness::of(&redis).await?;
        ns.apply_files("deploy/samples/hw7.yaml").await?;
        ns.pool_until(HW7, "is ready", |pool| pool.is("Ready", "True"))
            .await?;

        // "We can make a POST request with curl": one job, one worker.
        let first = id_in_the_readmes_answer(&api.post().await?)?;
        ns.ready(HW7, 1).await?;
        let worker = one_ip(ns).await?;
        redis.completed(std::slice::from_ref(&first), TEN_JOBS).await?;
        ensure!(
            seen_by_redis_py(ns, &redis).await?
                == format!("[b'job.{first}']\n{}\n", readmes_dict(&first, &worker))
        );
        let ran = witness.ran(&first).context("the job was not seen to run")?;
        ensure!(
            ran >= Duration::from_secs(15) && ran < Duration::from_secs(30),
            "a job took {ran:?}"
        );

        // "Edit line 10 to the desired number of pods and re-apply."
        let sample = std::fs::read_to_string(project().join("deploy/samples/hw7.yaml"))?;
        let edited = sample.replacen("\nspec:\n", "\nspec:\n  replicas: 2\n", 1);
        let applied = ns.try_apply(&edited).await?;
        ensure!(
            applied.stdout.trim() == "workerpool.workerpool.dev/hw7 configured",
            "{applied:?}"
        );
        ns.ready(HW7, 2).await?;
        let workers: BTreeSet<String> = ns.ips_of(HW7).await?.into_keys().collect();
        ensure!(workers.len() == 2, "two workers have the IPs {workers:?}");

        // "Create 10 more jobs."
        let mut more = Vec::new();
        for _ in 0..10 {
            more.push(id_in_the_readmes_answer(&api.post().await?)?);
        }
        let jobs = redis.completed(&more, TEN_JOBS).await?;

        // "Both workers did some of the jobs": five each, as in the README.
        let shares = jobs_by_worker(&jobs);
        ensure!(
            shares.keys().cloned().collect::<BTreeSet<_>>() == workers,
            "{shares:?} of {workers:?}"
        );
        ensure!(
            shares.values().all(|share| *share == 5),
            "shares of ten jobs: {shares:?}"
        );
        ensure!(
            more.iter().all(|id| witness.count(id, "in progress") == 1),
            "a job ran more than once"
        );

        // db 3 holds the eleven jobs and nothing else.
        let everything = redis.everything().await?;
        let keys: BTreeSet<String> = everything.into_keys().collect();
        let expected = more
            .iter()
            .chain([&first])
            .map(|id| format!("job.{id}"))
            .collect();
        ensure!(keys == expected, "db 3 holds {keys:?}");
        Ok(())
    })
    .await
}

/// The id in the API's answer, whose every byte is checked: `{"status": …, "start": …, "end": …, "id": …}` and a newline.
fn id_in_the_readmes_answer(answer: &str) -> Result<String> {
    let before = r#"{"status": "submitted", "start": "go!", "end": "stop!", "id": ""#;
    let id = answer
        .strip_prefix(before)
        .and_then(|rest| rest.strip_suffix("\"}\n"));
    let id = id.with_context(|| format!("the API answered {answer:?}"))?;
    let dashes: Vec<usize> = id.match_indices('-').map(|(at, _)| at).collect();
    let hex = id
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    ensure!(
        id.len() == 36 && dashes == [8, 13, 18, 23] && hex,
        "not a uuid as Python prints it: {id:?}"
    );
    ensure!(id.as_bytes()[14] == b'4', "not a uuid4: {id:?}");
    Ok(id.to_owned())
}

/// What the README's two expressions print, `rd.keys()` and `rd.hgetall(key)`, the dict in the order of its keys.
async fn seen_by_redis_py(ns: &Namespace, redis: &Data) -> Result<String> {
    let host = redis.host();
    let program = "
import sys, redis
rd = redis.StrictRedis(host=sys.argv[1], port=6379, db=3)
print(rd.keys())
for key in rd.keys():
    print(dict(sorted(rd.hgetall(key).items())))
";
    ns.python(program, &[host]).await
}

fn readmes_dict(id: &str, worker: &str) -> String {
    format!(
        "{{b'end': b'stop!', b'id': b'{id}', b'start': b'go!', b'status': b'complete', b'worker': b'{worker}'}}"
    )
}

async fn one_ip(ns: &Namespace) -> Result<String> {
    ns.ips_of(HW7)
        .await?
        .into_keys()
        .next()
        .context("the worker's pod has no IP")
}

fn jobs_by_worker(jobs: &[Job]) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for job in jobs {
        *shares.entry(job["worker"].clone()).or_default() += 1;
    }
    shares
}
