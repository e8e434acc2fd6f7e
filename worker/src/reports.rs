//! What handlers say of how far they are, on its way to Redis.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use queue::{Consumer, JobId, Progress, Token};
use tokio::{sync::Notify, time::sleep};

use crate::{outage::Waits, run::Shared};

/// From one call to the next, for all jobs of this worker: as often as a person can see it move.
const PERIOD: Duration = Duration::from_millis(250);

/// How much of a message is kept, in bytes.
const MAX_MESSAGE: usize = 1024;

/// What was said last of each job, and Redis has not heard yet. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    news: Mutex<HashMap<JobId, (Token, Progress)>>,
    some: Notify,
    /// Where progress can be posted.
    listener: OnceLock<SocketAddr>,
}

impl Reports {
    /// Notes it; it replaces what was said before.
    pub(crate) fn note(&self, job: &JobId, token: &Token, percent: Option<u8>, mut message: String) {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE));
        let percent = percent.map(|percent| percent.min(100));
        let progress = Progress { percent, message };
        self.news().insert(job.clone(), (token.clone(), progress));
        self.0.some.notify_one();
    }

    /// Says now what is still to be said of these jobs: they are about to end.
    pub(crate) async fn say<'a>(
        &self,
        consumer: &Consumer,
        jobs: impl Iterator<Item = &'a JobId>,
    ) -> queue::Result<()> {
        let news = {
            let mut news = self.news();
            if news.is_empty() {
                return Ok(());
            }
            jobs.filter_map(|job| news.remove_entry(job)).collect()
        };
        self.send(consumer, news).await
    }

    async fn send(&self, consumer: &Consumer, news: Vec<(JobId, (Token, Progress))>) -> queue::Result<()> {
        if news.is_empty() {
            return Ok(());
        }
        let reports: Vec<_> = news
            .into_iter()
            .map(|(job, (token, progress))| (job, token, progress))
            .collect();
        let sent = consumer.report(&reports).await;
        if sent.is_err() {
            let mut news = self.news();
            for (job, token, progress) in reports {
                // What was said meanwhile is newer.
                if let Entry::Vacant(entry) = news.entry(job) {
                    entry.insert((token, progress));
                }
            }
            self.0.some.notify_one();
        }
        sent
    }

    /// From now on progress can be posted there.
    pub(crate) fn listen_on(&self, address: SocketAddr) {
        // It is told once, at the start.
        let _ = self.0.listener.set(address);
    }

    /// Where the progress of a job can be posted, if anywhere.
    pub(crate) fn url(&self, job: &JobId) -> Option<String> {
        let mut address = *self.0.listener.get()?;
        if address.ip().is_unspecified() {
            address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        let job = utf8_percent_encode(job.as_str(), NON_ALPHANUMERIC);
        Some(format!("http://{address}/jobs/{job}/progress"))
    }

    fn news(&self) -> MutexGuard<'_, HashMap<JobId, (Token, Progress)>> {
        self.0.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells them, for ever: what is new at once, what comes soon after together with all else that does.
pub(crate) async fn tell<H>(shared: &Shared<H>) -> Infallible {
    let mut waits = Waits::new();
    loop {
        shared.reports.0.some.notified().await;
        let news: Vec<_> = shared.reports.news().drain().collect();
        if news.is_empty() {
            continue;
        }
        match shared.reports.send(&shared.consumer, news).await {
            Ok(()) => {
                shared.outage.answered();
                waits.reset();
                sleep(PERIOD).await;
            }
            Err(error) => {
                shared.outage.failed("report", &error);
                // Progress of jobs that have ended is refused, and would pile up here.
                let is_held = |job: &JobId, token: &Token| shared.held.token(job).as_ref() == Some(token);
                shared
                    .reports
                    .news()
                    .retain(|job, (token, _)| is_held(job, token));
                sleep(waits.next().max(PERIOD)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> (JobId, Token) {
        let token = serde_json::from_value("token".into()).unwrap();
        (JobId::new("a/b 1").unwrap(), token)
    }

    #[test]
    fn what_is_said_last_stays_within_its_bounds() {
        let reports = Reports::default();
        let (id, token) = job();
        reports.note(&id, &token, Some(1), "first".to_owned());
        reports.note(&id, &token, Some(101), "ä".repeat(MAX_MESSAGE));
        let news = reports.news();
        let (_, progress) = &news[&id];
        assert_eq!(progress.percent, Some(100));
        assert_eq!(progress.message, "ä".repeat(MAX_MESSAGE / 2));
    }

    #[test]
    fn progress_is_posted_to_this_machine_under_the_jobs_id() {
        let (id, _) = job();
        for any in ["0.0.0.0:8080", "[::]:8080"] {
            let reports = Reports::default();
            assert_eq!(reports.url(&id), None);
            reports.listen_on(any.parse().unwrap());
            let url = reports.url(&id).unwrap();
            assert_eq!(url, "http://127.0.0.1:8080/jobs/a%2Fb%201/progress");
        }
    }
}
