use std::time::Duration;

use tokio::time::sleep;

use super::{Context, Handler, Outcome};

/// The original's work: nothing, for a while.
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    /// How long.
    pub duration: Duration,
}

impl Handler for Sleep {
    async fn handle(&self, context: Context) -> Outcome {
        match context.stop.run_until_cancelled(sleep(self.duration)).await {
            Some(()) => Outcome::Done,
            None => Outcome::Stopped,
        }
    }
}
