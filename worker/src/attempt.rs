//! One attempt at a job: the handler runs, and ends by itself, by a panic, or because it must.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use futures::FutureExt;
use queue::{Claimed, Ending};
use tokio::time::{sleep, sleep_until};

use crate::{
    handler::{Context, Handler, Outcome, StopReason},
    held::{Hold, Stop},
    run::Shared,
};

/// When a job comes back whose handler stopped without being told: at once, it would spin between the queue and here.
const TURNED_DOWN_PAUSE: Duration = Duration::from_secs(1);

/// How much of an error's text is kept, in bytes.
const MAX_ERROR: usize = 1024;

/// What is to be done with a job whose attempt is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Say how it ended.
    Tell(Ending),
    /// Give it back when this worker ends.
    GiveBack,
    /// Nothing: it is not ours.
    Forget,
}

/// Runs the handler to its end, whatever that is. What the handler does cannot harm the caller.
pub(crate) async fn run<H: Handler>(
    shared: &Shared<H>,
    claimed: Claimed,
    hold: &Hold,
    timeout: Option<Duration>,
) -> Verdict {
    let (stop, handler) = (&hold.stop, &shared.handler);
    let timeout = claimed.timeout.or(timeout);
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let queue = shared.consumer.queue().name.clone();
    let context = Context::new(claimed, queue, stop, deadline, &shared.reports);
    let work = AssertUnwindSafe(async { handler.handle(context).await }).catch_unwind();
    let outcome = tokio::select! {
        // The work first: most is done when it is first looked at, and then no timer is set.
        biased;
        ended = work => ended.unwrap_or_else(|panic| Outcome::failed(panic_text(&*panic))),
        () = must_end(stop, deadline, handler.stop_patience()) => {
            tracing::warn!(job = %hold.id, "the handler did not stop in time and was cut off");
            Outcome::Stopped
        }
    };
    stop.over();
    verdict(outcome, stop.reason(), timeout.unwrap_or_default())
}

/// Ends once the handler has had its time to stop.
async fn must_end(stop: &Stop, deadline: Option<Instant>, patience: Duration) {
    match deadline {
        Some(deadline) => {
            let in_time = stop.token().run_until_cancelled(sleep_until(deadline.into()));
            if in_time.await.is_some() {
                stop.tell(StopReason::TimedOut);
            }
        }
        None => stop.token().cancelled().await,
    }
    sleep(patience).await;
}

fn verdict(outcome: Outcome, reason: Option<StopReason>, timeout: Duration) -> Verdict {
    let ending = match (outcome, reason) {
        (_, Some(StopReason::Lost)) => return Verdict::Forget,
        (Outcome::Stopped, Some(StopReason::Shutdown)) => return Verdict::GiveBack,
        (Outcome::Done, _) => Ending::Complete { result: None },
        (Outcome::DoneWith(result), _) => Ending::Complete { result: Some(result) },
        (_, Some(StopReason::Cancelled)) => Ending::Cancelled,
        (Outcome::Failed { error }, Some(StopReason::TimedOut)) => Ending::TimedOut {
            error: clipped(format!("not done within {timeout:?}: {error}")),
        },
        (_, Some(StopReason::TimedOut)) => Ending::TimedOut {
            error: format!("not done within {timeout:?}"),
        },
        (Outcome::Failed { error }, _) => Ending::Failed {
            error: clipped(error),
        },
        (Outcome::Later { after }, _) => Ending::Later { after },
        (Outcome::Stopped, None) => Ending::Later {
            after: TURNED_DOWN_PAUSE,
        },
    };
    Verdict::Tell(ending)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("with what is no text"))
}

fn clipped(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed() -> Outcome {
        Outcome::failed("boom")
    }

    fn told(outcome: Outcome, reason: Option<StopReason>) -> Ending {
        match verdict(outcome, reason, SECOND) {
            Verdict::Tell(ending) => ending,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn of_a_lost_job_nothing_is_written() {
        for outcome in [Outcome::Done, failed(), Outcome::Stopped] {
            assert_eq!(verdict(outcome, Some(StopReason::Lost), SECOND), Verdict::Forget);
        }
    }

    #[test]
    fn work_that_is_done_all_the_same_completes() {
        for reason in [StopReason::Cancelled, StopReason::TimedOut, StopReason::Shutdown] {
            assert_eq!(
                told(Outcome::Done, Some(reason)),
                Ending::Complete { result: None }
            );
        }
    }

    #[test]
    fn shutdown_gives_back_what_was_stopped_and_only_that() {
        let shutdown = Some(StopReason::Shutdown);
        assert_eq!(verdict(Outcome::Stopped, shutdown, SECOND), Verdict::GiveBack);
        assert_eq!(
            told(failed(), shutdown),
            Ending::Failed {
                error: "boom".to_owned()
            }
        );
    }

    #[test]
    fn cancelled_job_that_did_not_get_done_is_cancelled_however_its_handler_ended() {
        for outcome in [failed(), Outcome::Stopped, Outcome::Later { after: SECOND }] {
            assert_eq!(told(outcome, Some(StopReason::Cancelled)), Ending::Cancelled);
        }
    }

    #[test]
    fn timeout_says_how_long_was_waited_and_what_the_handler_said() {
        let timed_out = |outcome| match told(outcome, Some(StopReason::TimedOut)) {
            Ending::TimedOut { error } => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(timed_out(Outcome::Stopped), "not done within 1s");
        assert_eq!(timed_out(failed()), "not done within 1s: boom");
    }

    #[test]
    fn handler_that_stops_untold_has_its_job_postponed() {
        assert_eq!(
            told(Outcome::Stopped, None),
            Ending::Later {
                after: TURNED_DOWN_PAUSE
            }
        );
    }

    #[test]
    fn long_error_is_cut_between_two_characters() {
        let Ending::Failed { error } = told(Outcome::failed("ä".repeat(MAX_ERROR)), None) else {
            panic!("it failed");
        };
        assert_eq!(error, "ä".repeat(MAX_ERROR / 2));
        let Ending::Failed { error } = told(Outcome::failed(format!("x{}", "ä".repeat(MAX_ERROR))), None)
        else {
            panic!("it failed");
        };
        assert_eq!(error.len(), MAX_ERROR - 1);
    }
}
