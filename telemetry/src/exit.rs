use std::{
    fmt::Display,
    io::{self, Write},
    process::{ExitCode, Termination},
};

/// The exit code of clap for flags that it refuses.
const REFUSED: u8 = 2;

/// Ends the `main` of a program whose settings cannot work: one line on standard error says why, and the exit code is clap's.
///
/// Returned from `main`, an `anyhow::Error` would be shown by its `Debug`, with a stack backtrace in it.
pub fn refused(error: impl Display) -> ExitCode {
    report(&error);
    REFUSED.into()
}

/// Ends the `main` of a program that has run, or could not: one line on standard error says why it failed.
pub fn ended<T: Termination>(result: Result<T, impl Display>) -> ExitCode {
    match result {
        Ok(done) => done.report(),
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &impl Display) {
    // A closed standard error leaves the exit code.
    let _ = writeln!(io::stderr(), "{}", line(error));
}

/// The error and its causes, which `anyhow` shows in this format.
fn line(error: &impl Display) -> String {
    let text = format!("{error:#}");
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    format!("error: {}", lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_line() {
        assert_eq!(line(&"no such file:\n  /etc/x"), "error: no such file: /etc/x");
    }

    #[test]
    fn exit_code_tells_refused_settings_from_failures() {
        let codes = [
            (refused("x"), ExitCode::from(2)),
            (ended(Err::<(), _>("x")), ExitCode::from(1)),
            (ended(Ok::<_, String>(())), ExitCode::SUCCESS),
            (ended(Ok::<_, String>(ExitCode::from(7))), ExitCode::from(7)),
        ];
        for (is, wanted) in codes {
            assert_eq!(format!("{is:?}"), format!("{wanted:?}"));
        }
    }
}
