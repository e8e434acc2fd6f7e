//! What a worker does beside its jobs: keeps their leases and its place in the registry, ticks, sweeps.

use std::{convert::Infallible, time::Duration};

use tokio::time::sleep;

use crate::{handler::StopReason, outage::Waits, run::Shared};

/// How often to look for jobs that foreign workers took and lost.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Renews what is held and shows that this worker lives, once in a period, for ever. After a failure it
/// tries again sooner.
pub(crate) async fn renew<H>(shared: &Shared<H>, period: Duration) -> Infallible {
    let mut waits = Waits::new();
    loop {
        let wait = match renew_once(shared).await {
            Ok(()) => {
                shared.progress.renewals.heard();
                shared.outage.answered();
                waits.reset();
                period
            }
            Err(error) => {
                shared.progress.renewals.failed(&error);
                shared.outage.failed("renew", &error);
                waits.next().min(period)
            }
        };
        sleep(wait).await;
    }
}

async fn renew_once<H>(shared: &Shared<H>) -> queue::Result<()> {
    let held = shared.held.pairs();
    if !held.is_empty() {
        let renewal = shared.consumer.renew(&held).await?;
        for id in shared.held.stop(&renewal.lost, &held, StopReason::Lost) {
            tracing::warn!(job = %id, "the lease was lost: another worker may have the job");
        }
        for id in shared.held.stop(&renewal.cancelled, &held, StopReason::Cancelled) {
            tracing::info!(job = %id, "the job is cancelled: its handler is stopped");
        }
    }
    shared.consumer.beat().await
}

/// Does once in a period what somebody must do for the whole queue, for ever.
pub(crate) async fn tick<H>(shared: &Shared<H>, period: Duration) -> Infallible {
    let mut waits = Waits::new();
    loop {
        let wait = match shared.consumer.tick().await {
            Ok(tick) => {
                shared.progress.ticks.heard();
                shared.metrics.ticked(&tick);
                waits.reset();
                period
            }
            Err(error) => {
                shared.progress.ticks.failed(&error);
                shared.outage.failed("tick", &error);
                period.max(waits.next())
            }
        };
        sleep(wait).await;
    }
}

/// Looks once in a while for jobs that foreign workers took and lost, for ever.
pub(crate) async fn sweep<H>(shared: &Shared<H>, recover: bool) -> Infallible {
    let mut told_blind = false;
    loop {
        sleep(SWEEP_EVERY).await;
        match shared.consumer.sweep(recover).await {
            Ok(sweep) => {
                shared.metrics.swept(&sweep);
                if sweep.lost > 0 {
                    tracing::warn!(
                        lost = sweep.lost,
                        recovered = sweep.recovered,
                        "jobs of foreign workers that are gone"
                    );
                }
                if sweep.blind && !told_blind {
                    tracing::warn!(
                        "whether foreign workers live cannot be told: this user may not run CLIENT LIST and CONFIG GET, \
                         or Redis cuts idle connections (timeout)"
                    );
                    told_blind = true;
                }
            }
            Err(error) => shared.outage.failed("sweep", &error),
        }
    }
}
