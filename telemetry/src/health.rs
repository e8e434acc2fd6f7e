use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;
type Warning = Box<dyn Fn() -> Vec<String> + Send + Sync>;

/// What `/healthz` (liveness: shall this process be restarted?) and `/readyz` (readiness: shall it be sent
/// traffic?) report: named checks, each fine or failing with a reason in plain words.
///
/// Built by `main`, then given to [`crate::endpoints()`]. A check runs in the request that asks, so it must be
/// quick and must not block: read what was last seen, don't go and see.
#[derive(Default)]
pub struct Health {
    live: Vec<(&'static str, Check)>,
    ready: Vec<(&'static str, Check)>,
    warnings: Vec<(&'static str, Warning)>,
}

/// One verdict: whether every check passed, and a line for each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) passed: bool,
    pub(crate) report: String,
}

impl Health {
    /// No checks yet: alive and ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check to `/healthz`. An error is the reason, for a person to read.
    #[must_use]
    pub fn live(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.live.push((name, Box::new(check)));
        self
    }

    /// Adds a check to `/readyz`. An error is the reason, for a person to read.
    #[must_use]
    pub fn ready(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.ready.push((name, Box::new(check)));
        self
    }

    /// Adds to `/readyz` what a person should see to, a sentence each; it fails nothing.
    #[must_use]
    pub fn warns(
        mut self,
        name: &'static str,
        warnings: impl Fn() -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        self.warnings.push((name, Box::new(warnings)));
        self
    }

    pub(crate) fn liveness(&self) -> Verdict {
        Verdict::of("healthz", &self.live, &[])
    }

    pub(crate) fn readiness(&self) -> Verdict {
        Verdict::of("readyz", &self.ready, &self.warnings)
    }
}

impl Verdict {
    /// The lines are those of the Kubernetes API server's `/readyz?verbose`, which its users know; `[!]` is ours.
    fn of(endpoint: &str, checks: &[(&'static str, Check)], warnings: &[(&'static str, Warning)]) -> Self {
        let mut passed = true;
        let mut report = String::new();
        for (name, check) in checks {
            // Writing to a String cannot fail.
            let _ = match check() {
                Ok(()) => writeln!(report, "[+]{name} ok"),
                Err(reason) => {
                    passed = false;
                    writeln!(report, "[-]{name} failed: {reason}")
                }
            };
        }
        for (name, warnings) in warnings {
            for warning in warnings() {
                let _ = writeln!(report, "[!]{name}: {warning}");
            }
        }
        let word = if passed { "passed" } else { "failed" };
        let _ = writeln!(report, "{endpoint} check {word}");
        Self { passed, report }
    }
}

/// The state of one thing that a part of a program keeps up to date: fine, or failing with a reason. Clones
/// share it.
///
/// ```text
/// let redis = Condition::failing("not yet reached");
/// let health = Health::new().ready("redis", redis.check());
/// redis.pass();
/// ```
#[derive(Clone, Debug)]
pub struct Condition(Arc<Mutex<Result<(), String>>>);

impl Condition {
    /// Starts out failing, for this reason.
    #[must_use]
    pub fn failing(reason: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(Err(reason.into()))))
    }

    /// Starts out fine.
    #[must_use]
    pub fn passing() -> Self {
        Self(Arc::new(Mutex::new(Ok(()))))
    }

    /// All is well.
    pub fn pass(&self) {
        self.set(Ok(()));
    }

    /// Something is wrong, and this is what.
    pub fn fail(&self, reason: impl Into<String>) {
        self.set(Err(reason.into()));
    }

    /// This condition as a check for [`Health::ready`] or [`Health::live`].
    pub fn check(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let state = Arc::clone(&self.0);
        move || state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_checks_a_program_is_alive_and_ready() {
        let health = Health::new();
        assert!(health.liveness().passed);
        assert!(health.readiness().passed);
    }

    #[test]
    fn one_failing_condition_makes_unready_but_not_dead_and_says_why() {
        let started = Condition::failing("still starting");
        let health = Health::new()
            .ready("config", || Ok(()))
            .ready("started", started.check());
        let verdict = health.readiness();
        assert!(!verdict.passed);
        assert_eq!(
            verdict.report,
            "[+]config ok\n[-]started failed: still starting\nreadyz check failed\n"
        );
        assert!(health.liveness().passed);

        started.pass();
        assert!(health.readiness().passed);

        started.fail("stopped again");
        assert!(!health.readiness().passed);
    }

    #[test]
    fn warning_is_shown_and_fails_nothing() {
        let warnings = crate::Warnings::about("redis");
        let health = Health::new()
            .ready("redis", || Ok(()))
            .warns("redis", warnings.check());
        warnings.set(vec![
            "evicts keys".to_owned(),
            "writes nothing to disk".to_owned(),
        ]);
        let verdict = health.readiness();
        assert!(verdict.passed);
        assert_eq!(
            verdict.report,
            "[+]redis ok\n[!]redis: evicts keys\n[!]redis: writes nothing to disk\nreadyz check passed\n"
        );
    }
}
