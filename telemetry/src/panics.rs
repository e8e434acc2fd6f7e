use std::{
    panic::{self, PanicHookInfo},
    process,
};

/// Lets each panic be a line of the log like others. The default would write some of its own into it.
pub fn log_panics() {
    panic::set_hook(Box::new(log));
}

/// Lets a panic anywhere end the process, after a line in the log. For programs whose tasks serve each other: one that is
/// missing would leave a process that is alive and does nothing. Kubernetes starts it again.
pub fn abort_on_panic() {
    panic::set_hook(Box::new(|panic| {
        log(panic);
        process::abort();
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(text = panic.payload_as_str(), place, "panicked");
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::process::ExitStatusExt, process::Command, thread};

    use super::*;

    const SIGABRT: i32 = 6;

    #[test]
    #[ignore = "ends its process: the next test runs it in one of its own"]
    fn a_thread_panics() {
        abort_on_panic();
        let _ = thread::spawn(|| panic!("boom")).join();
    }

    #[test]
    fn panic_of_another_thread_ends_the_process() {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "panics::tests::a_thread_panics"])
            .status()
            .unwrap();
        assert_eq!(status.signal(), Some(SIGABRT));
    }
}
