//! How deep the queues are.

use crds::{
    WorkerPool,
    queues::QueueSpec,
    status::{NamedQueueStatus, QueueStatus},
};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::queues::{QueueView, View};

/// Of an error so much is told.
const ERROR_MAX: usize = 1024;

/// All queues as one.
pub(super) fn together(view: Option<&View>) -> Option<QueueStatus> {
    let reading = view?.reading.as_ref()?;
    // In whole seconds, as the API server keeps it: what is read back is what was written.
    let oldest = reading
        .oldest_submitted_ms
        .and_then(|ms| Timestamp::from_second(i64::try_from(ms / 1000).ok()?).ok());
    Some(QueueStatus {
        waiting: number(reading.ready()),
        running: number(reading.running),
        // What is due waits already.
        delayed: number(reading.delayed.saturating_sub(reading.due)),
        dead: number(reading.dead),
        oldest_job_time: oldest.map(Time),
    })
}

/// Each queue by its name, where that says more than all together do; `None` where nothing is known yet.
pub(super) fn each(pool: &WorkerPool, view: Option<&View>) -> Option<Vec<NamedQueueStatus>> {
    let (specs, views) = (&pool.spec.queues, &view?.queues);
    if specs.len() == 1 && specs.iter().all(|spec| spec.source.is_none()) {
        return Some(Vec::new());
    }
    // Another number of them is known only while the spec has just been changed.
    let same = specs.len() == views.len() && !views.iter().all(QueueView::is_unread);
    same.then(|| {
        let named = specs.iter().zip(views);
        named.map(|(spec, view)| named_status(&spec.name, view)).collect()
    })
}

fn named_status(name: &str, view: &QueueView) -> NamedQueueStatus {
    let reading = view.reading.as_ref();
    NamedQueueStatus {
        name: name.to_owned(),
        waiting: number(reading.map_or(0, queue::Reading::ready)),
        running: number(reading.map_or(0, |reading| reading.running)),
        error: view.error.as_ref().map(|error| {
            let text = error.to_string();
            text.chars().take(ERROR_MAX).collect()
        }),
    }
}

/// The first queue, and how many others there are: `mails,+2`.
pub(super) fn names(queues: &[QueueSpec]) -> String {
    let first = queues.first().map_or("", |queue| &queue.name);
    match queues.len() {
        0 | 1 => first.to_owned(),
        several => format!("{first},+{}", several - 1),
    }
}

/// What is left of the queues when one looks away from their depth.
pub(super) fn without_depth(queues: &[NamedQueueStatus]) -> Vec<NamedQueueStatus> {
    let flat = |queue: &NamedQueueStatus| NamedQueueStatus {
        waiting: 0,
        running: 0,
        ..queue.clone()
    };
    queues.iter().map(flat).collect()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
