//! Any program as the worker: the samples, and an image with nothing but a program. None of them may be root or write into its
//! image; the namespace refuses what is not `restricted`.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use workerpool_e2e::wait::{Look, eventually};
use workerpool_e2e::{A_WHILE, Api, Data, Namespace, in_namespace, pool};

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_script_in_pythons_own_image_makes_thumbnails() -> Result<()> {
    in_namespace("thumbnails", async |ns| {
        let (redis, api) = restricted(ns).await?;
        ns.apply_files("deploy/samples/thumbnails.yaml").await?;
        let png = ns.python(DRAW, &[]).await?;
        let id = api
            .post_job(&json!({"start": "in.png", "end": "16x8", "payload": {"png": png.trim()}}))
            .await?;
        complete(&redis, &id).await?;

        let (content_type, thumbnail) = result(&api, &id).await?;
        ensure!(content_type == "image/png", "{content_type}");
        let hex: String = thumbnail.iter().map(|byte| format!("{byte:02x}")).collect();
        let seen = ns.python(LOOK, &[&hex]).await?;
        ensure!(seen.trim() == "16x8 ff0000 0000ff", "the thumbnail is {seen}");
        reported(&api, &id, 100, "row 8 of 8").await?;

        let broken = api
            .post_job(&json!({"start": "in.png", "end": "16x8", "payload": {"png": "R0lGODlh"}}))
            .await?;
        failed(&api, &broken, "the payload's png is not a PNG").await?;
        runs_as_nobody(ns, "thumbs").await?;
        ns.ready("thumbs", 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_shell_script_in_busybox_finds_primes() -> Result<()> {
    in_namespace("primes", async |ns| {
        let (redis, api) = restricted(ns).await?;
        ns.apply_files("deploy/samples/shell.yaml").await?;
        let id = api.post_job(&json!({"start": 20, "end": 40})).await?;
        complete(&redis, &id).await?;
        let (content_type, primes) = result(&api, &id).await?;
        ensure!(content_type.starts_with("text/plain"), "{content_type}");
        let primes = String::from_utf8_lossy(&primes);
        ensure!(primes == "23\n29\n31\n37\n", "{primes}");
        reported(&api, &id, 100, "at 40").await?;

        let words = api.post_job(&json!({"start": "one", "end": "two"})).await?;
        failed(&api, &words, "start and end must be numbers, not 'one' and 'two'").await?;
        runs_as_nobody(ns, "primes").await?;
        ns.ready("primes", 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn a_service_beside_the_worker_is_sent_the_jobs() -> Result<()> {
    in_namespace("moods", async |ns| {
        let (redis, api) = restricted(ns).await?;
        ns.apply_files("deploy/samples/service.yaml").await?;
        let text = "A great day. Sad to leave.";
        let id = api
            .post_job(&json!({"start": "a", "end": "b", "payload": {"text": text}}))
            .await?;
        complete(&redis, &id).await?;
        let (content_type, mood) = result(&api, &id).await?;
        ensure!(content_type == "application/json", "{content_type}");
        let mood: Value = serde_json::from_slice(&mood)?;
        ensure!(mood == json!({"mood": "even", "score": 0}), "{mood}");
        reported(&api, &id, 50, "6 words").await?;

        let nothing = api.post_job(&json!({"start": "a", "end": "b"})).await?;
        failed(&api, &nothing, "422").await?;
        runs_as_nobody(ns, "moods").await?;
        ns.ready("moods", 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
#[ignore = "needs a cluster"]
async fn an_image_with_nothing_but_a_program_works_off_jobs() -> Result<()> {
    in_namespace("static", async |ns| {
        let (redis, api) = restricted(ns).await?;
        let container = json!({
            "name": "worker",
            "image": "static-handler:1",
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
        });
        let nobody =
            json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
        // A container's own command would lose what Kubernetes takes for variables.
        let argument = "$(WORKER_IP) $$";
        let spec = json!({
            "worker": {"handler": {"command": ["/shout", argument]}},
            "template": {"spec": {"securityContext": nobody, "containers": [container]}},
        });
        ns.apply(&pool("shouting", spec)).await?;
        let id = api
            .post_job(&json!({"start": "here", "end": "there", "payload": {"say": "hello"}}))
            .await?;
        complete(&redis, &id).await?;
        let (_, shouted) = result(&api, &id).await?;
        let shouted = String::from_utf8(shouted)?;
        let (said, job) = shouted.split_once('\n').context(shouted.clone())?;
        let job: Value = serde_json::from_str(job)?;
        ensure!(said == argument, "{said}");
        ensure!(
            job["ID"] == id.to_uppercase() && job["PAYLOAD"]["SAY"] == "HELLO",
            "{job}"
        );
        reported(&api, &id, 50, "shouting").await?;
        runs_as_nobody(ns, "shouting").await?;
        ns.ready("shouting", 0).await?;
        Ok(())
    })
    .await
}

/// A PNG in base64, 64 pixels wide and 32 high: red on the left, blue on the right.
const DRAW: &str = r#"
import base64, struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
row = b"\0" + b"\xff\0\0" * 32 + b"\0\0\xff" * 32
png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 32, 8, 2, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(row * 32)) + chunk(b"IEND", b"")
print(base64.b64encode(png).decode())
"#;

/// The size of a PNG of one unfiltered IDAT, and its first and last pixel.
const LOOK: &str = r#"
import struct, sys, zlib
png = bytes.fromhex(sys.argv[1])
width, height = struct.unpack(">II", png[16:24])
start = png.index(b"IDAT")
length, = struct.unpack(">I", png[start - 4:start])
pixels = zlib.decompress(png[start + 4:start + 4 + length])
print(f"{width}x{height}", pixels[1:4].hex(), pixels[-3:].hex())
"#;

/// The namespace with Redis and the API, closed to pods that might do harm.
async fn restricted(ns: &Namespace) -> Result<(Data, Api)> {
    let enforce = "pod-security.kubernetes.io/enforce=restricted";
    ns.kubectl(["label", "namespace", ns.name(), enforce]).await?;
    Ok((ns.deploy_redis().await?, ns.deploy_api().await?))
}

async fn complete(redis: &Data, id: &str) -> Result<()> {
    redis.completed(&[id.to_owned()], A_WHILE).await?;
    Ok(())
}

/// What a complete job gave: its content type, and the bytes.
async fn result(api: &Api, id: &str) -> Result<(String, Vec<u8>)> {
    api.download(&format!("/jobs/{id}/result")).await
}

/// Waits until the job shows this as its progress.
async fn reported(api: &Api, id: &str, percent: u8, message: &str) -> Result<()> {
    let expected = json!({"percent": percent, "message": message});
    eventually(&format!("job {id} reports {expected}"), A_WHILE, async || {
        let job: Value = serde_json::from_str(&api.get(&format!("/jobs/{id}")).await?)?;
        Ok(Look::when(job["progress"] == expected, (), || job.to_string()))
    })
    .await
}

/// Waits until an attempt at the job has failed, with this in its error.
async fn failed(api: &Api, id: &str, why: &str) -> Result<()> {
    eventually(&format!("job {id} fails: {why}"), A_WHILE, async || {
        let details: Value = serde_json::from_str(&api.get(&format!("/jobs/{id}/details")).await?)?;
        let error = details["error"].as_str().unwrap_or_default();
        Ok(Look::when(error.contains(why), (), || details.to_string()))
    })
    .await
}

/// Checks that no container of the pool's pods may be root or write into its image.
async fn runs_as_nobody(ns: &Namespace, deployment: &str) -> Result<()> {
    let found = ns.deployment(deployment).await?.context("no Deployment")?;
    let pod = found
        .spec
        .and_then(|spec| spec.template.spec)
        .context("no pods")?;
    let pods = pod.security_context.unwrap_or_default();
    let containers = pod.containers.iter().chain(pod.init_containers.iter().flatten());
    for container in containers {
        let own = container.security_context.clone().unwrap_or_default();
        ensure!(
            own.read_only_root_filesystem == Some(true)
                && own.run_as_non_root.or(pods.run_as_non_root) == Some(true),
            "container {} of {deployment} may do more than it needs: {own:?}",
            container.name
        );
    }
    Ok(())
}
