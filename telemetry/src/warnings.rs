use std::sync::{Arc, Mutex, PoisonError};

/// What a person should see to although the program runs: a Redis that evicts keys, say. Shown by `/readyz`
/// without failing it (see [`crate::Health::warns`]), and logged when it comes and when it goes. Clones share it.
#[derive(Clone, Debug)]
pub struct Warnings {
    about: &'static str,
    now: Arc<Mutex<Vec<String>>>,
}

impl Warnings {
    /// None yet, about this thing.
    #[must_use]
    pub fn about(thing: &'static str) -> Self {
        Self {
            about: thing,
            now: Arc::default(),
        }
    }

    /// These are all that there are now, each a sentence for a person to read. Logs only what changed.
    pub fn set(&self, warnings: Vec<String>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        for warning in warnings.iter().filter(|warning| !now.contains(warning)) {
            tracing::warn!(about = self.about, %warning, "at risk");
        }
        for warning in now.iter().filter(|warning| !warnings.contains(warning)) {
            tracing::info!(about = self.about, %warning, "no longer at risk");
        }
        *now = warnings;
    }

    /// These warnings, for [`crate::Health::warns`].
    pub fn check(&self) -> impl Fn() -> Vec<String> + Send + Sync + 'static {
        let now = Arc::clone(&self.now);
        move || now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn warning_is_logged_when_it_comes_and_when_it_goes_and_never_in_between() {
        let log = Log::default();
        let lines = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false);
        let evicts = || vec!["evicts keys".to_owned()];
        let warnings = Warnings::about("redis");
        tracing::subscriber::with_default(lines.finish(), || {
            warnings.set(evicts());
            warnings.set(evicts());
            assert_eq!(warnings.check()(), evicts());
            warnings.set(Vec::new());
        });
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.matches("WARN").count(), 1, "{said}");
        assert_eq!(said.matches("INFO").count(), 1, "{said}");
        assert_eq!(said.matches("evicts keys").count(), 2, "{said}");
        assert!(warnings.check()().is_empty());
    }
}
