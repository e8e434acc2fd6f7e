//! Says when Redis is set up so that it may lose what it holds.

use std::{convert::Infallible, time::Duration};

use tokio::time::{sleep, timeout};

use crate::{outage::Waits, run::Shared};

/// How often to look without cause. Somebody may change the server's settings while it runs.
const PERIOD: Duration = Duration::from_secs(300);

/// Looks at the start, after each outage (it may be another server now) and once in a while, for ever.
pub(crate) async fn watch<H>(shared: &Shared<H>) -> Infallible {
    let mut waits = Waits::new();
    loop {
        match shared.consumer.risks().await {
            Ok(risks) => {
                waits.reset();
                shared.metrics.at_risk(&risks);
                shared.risks.set(risks.iter().map(ToString::to_string).collect());
                // Either is a cause to look again.
                let _ = timeout(PERIOD, shared.outage.over()).await;
            }
            Err(error) => {
                shared.outage.failed("look for risks", &error);
                sleep(waits.next()).await;
            }
        }
    }
}
