use std::{
    any::Any,
    cell::Cell,
    future::poll_fn,
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    pin::pin,
    process,
    sync::LazyLock,
    task::Poll,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};

/// Longest panic message that is kept; conditions and events show it.
const MESSAGE_MAX: usize = 256;

thread_local! {
    /// How many [`catch_panic`] calls this thread is inside of now.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
}

static CAUGHT: LazyLock<Family<PlaceLabels, Counter>> = LazyLock::new(Family::default);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PlaceLabels {
    place: &'static str,
}

/// A panic that was caught. Its text is the message; the log has the line of code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("internal error (panic): {message}")]
pub struct Panicked {
    message: String,
}

/// Lets each panic be a line of the log like others. The default would write some of its own into it.
pub fn log_panics() {
    panic::set_hook(Box::new(log));
}

/// Ends the process on each panic that no [`catch_panic`] is around, after a line in the log. Tasks serve each other: a process
/// that has lost one of them would be alive and do nothing. Kubernetes starts it again.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|panic| {
        log(panic);
        let is_caught = CATCHING.try_with(|depth| depth.get() > 0).unwrap_or(false);
        if !is_caught {
            process::abort();
        }
    }));
}

/// Runs a future; a panic in it becomes an error, and is counted under `place` in the metric `workerpool_panics_total`. What the
/// future has changed outside of itself may be half done after a panic: the caller resets it.
///
/// # Errors
/// [`Panicked`] if the future panicked.
pub async fn catch_panic<F: Future>(place: &'static str, future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_panic_now(place, || future.as_mut().poll(cx)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// As [`catch_panic`], for what does not wait.
///
/// # Errors
/// [`Panicked`] if `work` panicked.
pub fn catch_panic_now<T>(place: &'static str, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let catching = Catching::begin();
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    drop(catching);
    result.map_err(|payload| {
        CAUGHT.get_or_create(&PlaceLabels { place }).inc();
        Panicked {
            message: message(&*payload),
        }
    })
}

/// Runs a future that the process cannot do without: a panic in it ends the process. For tasks that are not joined, of programs that
/// survive other panics ([`log_panics`]).
pub async fn vital<F: Future>(future: F) -> F::Output {
    match catch_panic("vital", future).await {
        Ok(output) => output,
        // The log has the panic.
        Err(_) => process::abort(),
    }
}

/// The metric of panics that were caught; of all programs, as their registries share it.
pub(crate) fn caught() -> Family<PlaceLabels, Counter> {
    CAUGHT.clone()
}

struct Catching;

impl Catching {
    fn begin() -> Self {
        CATCHING.set(CATCHING.get().saturating_add(1));
        Self
    }
}

impl Drop for Catching {
    fn drop(&mut self) {
        CATCHING.set(CATCHING.get().saturating_sub(1));
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    text.chars().take(MESSAGE_MAX).collect()
}

fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(text = panic.payload_as_str(), place, "panicked");
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        os::unix::process::ExitStatusExt,
        process::{Command, ExitStatus},
        thread,
    };

    use super::*;

    const SIGABRT: i32 = 6;

    /// Runs an ignored test of this module in a process of its own.
    fn run(test: &str) -> ExitStatus {
        Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", &format!("panics::tests::{test}")])
            .status()
            .unwrap()
    }

    #[test]
    #[ignore = "ends its process: the next test runs it in one of its own"]
    fn a_thread_panics() {
        abort_on_panic();
        let _ = thread::spawn(|| panic!("boom")).join();
    }

    #[test]
    fn panic_of_another_thread_ends_the_process() {
        assert_eq!(run("a_thread_panics").signal(), Some(SIGABRT));
    }

    #[tokio::test]
    #[ignore = "replaces the panic hook of its process: the next test runs it in one of its own"]
    async fn caught_panics() {
        abort_on_panic();
        let panics_later = async {
            tokio::task::yield_now().await;
            panic!("boom {}", 1);
        };
        let caught = catch_panic("test", panics_later).await.map(|(): ()| ());
        assert_eq!(caught.unwrap_err().to_string(), "internal error (panic): boom 1");
        let nested = catch_panic_now("test", || {
            let inner = catch_panic_now("test", || panic!("inner"));
            assert!(inner.is_err());
            panic!("outer")
        });
        assert_eq!(
            nested.map(|(): ()| ()).unwrap_err().to_string(),
            "internal error (panic): outer"
        );
        assert_eq!(catch_panic("test", async { 7 }).await, Ok(7));
    }

    #[test]
    fn caught_panic_is_error_and_process_goes_on() {
        assert!(run("caught_panics").success());
    }

    #[tokio::test]
    #[ignore = "ends its process: the next test runs it in one of its own"]
    async fn panic_after_a_caught_one() {
        abort_on_panic();
        let _ = catch_panic("test", async { panic!("boom") })
            .await
            .map(|(): ()| ());
        let _ = tokio::spawn(async { panic!("nobody catches this") }).await;
    }

    #[tokio::test]
    #[ignore = "ends its process: the next test runs it in one of its own"]
    async fn vital_task_panics() {
        log_panics();
        let _ = tokio::spawn(async { panic!("a handler's own task") }).await;
        let _ = tokio::spawn(vital(async { panic!("boom") })).await;
    }

    #[test]
    fn panic_of_vital_task_ends_process() {
        assert_eq!(run("vital_task_panics").signal(), Some(SIGABRT));
    }

    #[test]
    fn panic_outside_guard_ends_process_after_caught_one() {
        assert_eq!(run("panic_after_a_caught_one").signal(), Some(SIGABRT));
    }
}
