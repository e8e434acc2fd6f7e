//! The HTTP API, used as the original's README does: with curl.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use uuid::Uuid;

use crate::process;
use crate::wait::{Look, eventually};

/// An API that takes jobs, ours or the original's.
#[derive(Clone, Debug)]
pub struct Api {
    pub(crate) address: String,
}

impl Api {
    /// POSTs the README's job; answers the body, byte for byte.
    ///
    /// # Errors
    /// When curl fails or the answer is not a success.
    pub async fn post(&self) -> Result<String> {
        self.post_with(&["--fail-with-body", "--max-time", "10"]).await
    }

    async fn post_with(&self, options: &[&str]) -> Result<String> {
        let url = format!("http://{}/jobs", self.address);
        let body = r#"{"start": "go!", "end": "stop!"}"#;
        let header = "content-type: application/json";
        let request = ["-sS", "-X", "POST", "-H", header, "-d", body, &url];
        process::succeed("curl", &[&request[..], options].concat(), "").await
    }

    /// POSTs a job of one's own; answers its id.
    ///
    /// # Errors
    /// When it is not accepted.
    pub async fn post_job(&self, job: &Value) -> Result<String> {
        let url = format!("http://{}/jobs", self.address);
        let arguments = [
            "-sS",
            "--fail-with-body",
            "--max-time",
            "10",
            "--data-binary",
            "@-",
            &url,
        ];
        id(&process::succeed("curl", &arguments, &job.to_string()).await?)
    }

    /// GETs a path; answers the content type and the body as they are.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub async fn download(&self, path: &str) -> Result<(String, Vec<u8>)> {
        let url = format!("http://{}{path}", self.address);
        let head = "%{stderr}%{http_code} %{content_type}";
        let answer = process::bytes("curl", ["-sS", "--max-time", "10", "-w", head, &url], "").await?;
        let head = String::from_utf8_lossy(&answer.stderr).into_owned();
        let content_type = head.strip_prefix("200 ").with_context(|| {
            let body = String::from_utf8_lossy(&answer.stdout);
            format!("{url} answers {head}: {body}")
        })?;
        Ok((content_type.to_owned(), answer.stdout))
    }

    /// GETs a path; answers the body.
    ///
    /// # Errors
    /// When curl fails or the answer is not a success.
    pub async fn get(&self, path: &str) -> Result<String> {
        let url = format!("http://{}{path}", self.address);
        process::succeed("curl", &["-sS", "--fail-with-body", "--max-time", "10", &url], "").await
    }

    /// Sees whether anything answers at all, whatever it says.
    pub(crate) async fn touch(&self) -> Result<()> {
        let url = format!("http://{}/", self.address);
        process::succeed("curl", &["-sS", "--max-time", "5", "-o", "/dev/null", &url], "").await?;
        Ok(())
    }

    /// Makes a request without a body; answers the status and the body, whatever they say.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn request(&self, method: &str, path: &str) -> Result<(u16, String)> {
        let url = format!("http://{}{path}", self.address);
        let status = "\n%{http_code}";
        let arguments = ["-sS", "--max-time", "10", "-X", method, "-w", status, &url];
        let answer = process::succeed("curl", &arguments, "").await?;
        let (body, status) = answer.rsplit_once('\n').context("curl prints the status last")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// As [`Api::submit`], once the API says that it is ready.
    ///
    /// # Errors
    /// When it does not within the time.
    pub async fn submit_when_ready(&self, jobs: usize, within: Duration) -> Result<Vec<String>> {
        eventually("the API is ready", within, async || {
            Ok(Look::Seen(self.get("/readyz").await?))
        })
        .await?;
        self.submit(jobs).await
    }

    /// Waits until all of these jobs are complete, by what the API says of them.
    ///
    /// # Errors
    /// When one is not within the time.
    pub async fn completed(&self, ids: &[String], within: Duration) -> Result<()> {
        for id in ids {
            eventually(&format!("job {id} is complete"), within, async || {
                let answer = self.get(&format!("/jobs/{id}")).await?;
                let job: Value = serde_json::from_str(&answer)?;
                Ok(Look::when(job["status"] == "complete", (), || answer))
            })
            .await?;
        }
        Ok(())
    }

    /// POSTs so many jobs over one connection; answers the ids of those that were acknowledged, which are fewer when the API
    /// goes away meanwhile.
    ///
    /// # Errors
    /// When curl cannot be run, or an acknowledgement is none.
    pub async fn submit_many(&self, jobs: usize) -> Result<Vec<String>> {
        // curl makes a request of each number, and prints only the answers that came with a success.
        let urls = format!("http://{}/jobs?[1-{jobs}]", self.address);
        let body = r#"{"start": "go!", "end": "stop!"}"#;
        let arguments = [
            "-sS",
            "--fail",
            "--max-time",
            "60",
            "-X",
            "POST",
            "-d",
            body,
            &urls,
        ];
        let answers = process::run("curl", arguments, "").await?.stdout;
        answers.lines().map(id).collect()
    }

    /// POSTs so many jobs, one after another; answers their ids. Told that Redis does not answer (503 and Retry-After, a busy machine's
    /// everyday life), it asks again for the same job.
    ///
    /// # Errors
    /// When one is not accepted.
    pub async fn submit(&self, jobs: usize) -> Result<Vec<String>> {
        let mut ids = Vec::with_capacity(jobs);
        for _ in 0..jobs {
            let key = format!("Idempotency-Key: {}", Uuid::new_v4());
            // Not with the failed tries' bodies, which would stand before the answer.
            let again = ["--fail", "--max-time", "60", "--retry", "10", "-H", &key];
            ids.push(id(&self.post_with(&again).await?)?);
        }
        Ok(ids)
    }
}

/// The id in an acknowledgement.
fn id(answer: &str) -> Result<String> {
    let job: Value = serde_json::from_str(answer).with_context(|| answer.to_owned())?;
    Ok(job["id"].as_str().with_context(|| answer.to_owned())?.to_owned())
}
