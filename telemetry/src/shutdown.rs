use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// When to stop. The first SIGTERM or SIGINT asks for a polite end: take nothing new, finish what runs. The
/// second one wants it now. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// Listens to this process's SIGTERM and SIGINT from now on, in place of their default action. Needs a
    /// running tokio runtime.
    ///
    /// # Errors
    /// When the operating system refuses the signal handler.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let listener = shutdown.clone();
        tokio::spawn(async move {
            while !listener.forced.is_cancelled() {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                listener.signal(name);
            }
        });
        Ok(shutdown)
    }

    /// Cancelled once shutdown was asked for. Pass a clone, or a child token, to what shall stop.
    #[must_use]
    pub fn requested(&self) -> &CancellationToken {
        &self.requested
    }

    /// Cancelled once it was asked for a second time: give up waiting.
    #[must_use]
    pub fn forced(&self) -> &CancellationToken {
        &self.forced
    }

    /// Passes until shutdown is asked for, for [`crate::Health::ready`]: whoever sends traffic shall look for
    /// another.
    pub fn check(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let requested = self.requested.clone();
        move || match requested.is_cancelled() {
            false => Ok(()),
            true => Err("asked to stop".to_owned()),
        }
    }

    /// Does what a signal does: the first call requests, the second forces. For tests, and for a program that
    /// ends by itself.
    pub fn signal(&self, cause: &str) {
        if self.requested.is_cancelled() {
            tracing::warn!(cause, "stopping at once");
            self.forced.cancel();
        } else {
            tracing::info!(cause, "stopping; once more to stop at once");
            self.requested.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_signal_requests_and_only_the_second_forces() {
        let shutdown = Shutdown::default();
        let seen = shutdown.clone();
        assert!(!seen.requested().is_cancelled());
        assert!(seen.check()().is_ok());
        shutdown.signal("SIGTERM");
        assert!(seen.requested().is_cancelled());
        assert!(seen.check()().is_err());
        assert!(!seen.forced().is_cancelled());
        shutdown.signal("SIGTERM");
        assert!(seen.forced().is_cancelled());
    }
}
