//! The settings of the stock worker's handlers.

use std::{ffi::OsString, time::Duration};

use anyhow::{Context, bail, ensure};
use axum::http::Uri;
use queue::JobResult;

use super::seconds;
use crate::handler::{command, http};

/// Which handler, and how it works: flatten them into a program's arguments with `#[command(flatten)]`.
#[derive(Debug, clap::Args)]
#[command(mut_args(telemetry::ignore_empty_variable))]
pub struct HandlerArgs {
    /// What is done with a job; command if arguments follow after --
    #[arg(long, env = "WORKERPOOL_HANDLER", value_name = "HANDLER")]
    handler: Option<Kind>,

    /// How long a job takes (handler sleep): the original's work is to sleep
    #[arg(
        long,
        env = "WORKERPOOL_SLEEP_SECONDS",
        value_name = "SECONDS",
        default_value = "15",
        value_parser = seconds
    )]
    sleep_seconds: Duration,

    /// The program that is run for each job, and its arguments, as a JSON array (handler command)
    #[arg(long, env = "WORKERPOOL_COMMAND", value_name = "JSON", value_parser = json_argv)]
    command: Option<Argv>,

    /// Standard input of the program (handler command)
    #[arg(
        long,
        env = "WORKERPOOL_COMMAND_STDIN",
        value_name = "CONTENT",
        value_enum,
        ignore_case = true,
        default_value_t
    )]
    command_stdin: command::StdinContent,

    /// From SIGTERM to SIGKILL, when a program must stop (handler command)
    #[arg(
        long,
        env = "WORKERPOOL_KILL_GRACE_SECONDS",
        value_name = "SECONDS",
        default_value = "10",
        value_parser = seconds
    )]
    kill_grace_seconds: Duration,

    /// Where jobs are posted (handler http)
    #[arg(long, env = "WORKERPOOL_HTTP_URL", value_name = "URL", value_parser = http::url)]
    http_url: Option<Uri>,

    /// What answers with success once that service is ready; any answer of its origin but 503 if absent
    #[arg(long, env = "WORKERPOOL_HTTP_READY_URL", value_name = "URL", value_parser = http::url)]
    http_ready_url: Option<Uri>,

    /// The longest result of a job
    #[arg(
        long,
        env = "WORKERPOOL_RESULT_MAX_BYTES",
        value_name = "BYTES",
        default_value_t = JobResult::MAX_BODY
    )]
    result_max_bytes: usize,

    /// The program that is run for each job, and its arguments
    #[arg(last = true, value_name = "PROGRAM")]
    argv: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Sleep,
    Command,
    Http,
}

/// Of a type of its own: clap takes a `Vec` for an option that may be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Argv(Vec<String>);

/// The handler, checked.
#[derive(Debug)]
pub enum HandlerConfig {
    /// Nothing, for so long.
    Sleep(Duration),
    /// A program per job.
    Command(command::Settings),
    /// A request per job.
    Http(http::Settings),
}

impl HandlerArgs {
    /// Checks the settings.
    ///
    /// # Errors
    /// With a sentence that says which setting is wrong and what it should be.
    pub fn validate(self) -> anyhow::Result<HandlerConfig> {
        let max_result = self.result_max_bytes;
        ensure!(
            max_result <= JobResult::MAX_BODY,
            "a result (--result-max-bytes, WORKERPOOL_RESULT_MAX_BYTES) has at most {} bytes, not {max_result}",
            JobResult::MAX_BODY
        );
        let implied = if self.argv.is_empty() {
            Kind::Sleep
        } else {
            Kind::Command
        };
        Ok(match (self.handler.unwrap_or(implied), self.argv.is_empty()) {
            (Kind::Command, _) => HandlerConfig::Command(command::Settings {
                argv: argv(self.argv, self.command)?,
                stdin: self.command_stdin,
                kill_grace: self.kill_grace_seconds,
                max_result,
            }),
            (_, false) => bail!("a program after -- is for --handler command (WORKERPOOL_HANDLER) only"),
            (Kind::Sleep, true) => HandlerConfig::Sleep(self.sleep_seconds),
            (Kind::Http, true) => HandlerConfig::Http(http::Settings {
                url: self.http_url.context(
                    "where is the service? Set WORKERPOOL_HTTP_URL, or give --http-url: http://host:port/path",
                )?,
                ready_url: self.http_ready_url,
                max_result,
            }),
        })
    }
}

/// What follows after `--` comes before what the environment says.
fn argv(after_dashes: Vec<OsString>, json: Option<Argv>) -> anyhow::Result<Vec<OsString>> {
    let argv = match json {
        Some(Argv(json)) if after_dashes.is_empty() => json.into_iter().map(OsString::from).collect(),
        _ => after_dashes,
    };
    ensure!(
        argv.first().is_some_and(|program| !program.is_empty()),
        "which program? Give it after --, or set WORKERPOOL_COMMAND to a JSON array: [\"python3\", \"/app/resize.py\"]"
    );
    Ok(argv)
}

fn json_argv(text: &str) -> Result<Argv, String> {
    serde_json::from_str(text)
        .map(Argv)
        .map_err(|error| format!("no JSON array of texts: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::handler::command::StdinContent;

    #[derive(Debug, Parser)]
    struct Args {
        #[command(flatten)]
        handler: HandlerArgs,
    }

    fn validate(flags: &[&str]) -> Result<HandlerConfig, String> {
        let args = Args::try_parse_from(["worker"].iter().chain(flags)).map_err(|error| error.to_string())?;
        args.handler.validate().map_err(|error| format!("{error:#}"))
    }

    fn command(flags: &[&str]) -> command::Settings {
        match validate(flags) {
            Ok(HandlerConfig::Command(settings)) => settings,
            other => panic!("{other:?}"),
        }
    }

    fn program(flags: &[&str]) -> Vec<OsString> {
        command(flags).argv
    }

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn without_settings_it_sleeps_as_long_as_the_original() {
        let Ok(HandlerConfig::Sleep(time)) = validate(&[]) else {
            panic!("it sleeps");
        };
        assert_eq!(time, Duration::from_secs(15));
    }

    #[test]
    fn times_may_have_fractions_and_must_be_times() {
        let Ok(HandlerConfig::Sleep(time)) = validate(&["--sleep-seconds", "0.25"]) else {
            panic!("it sleeps");
        };
        assert_eq!(time, Duration::from_millis(250));
        for bad in ["-1", "soon", "inf"] {
            assert!(validate(&["--sleep-seconds", bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn program_after_dashes_implies_its_handler_and_keeps_its_flags() {
        assert_eq!(
            program(&["--", "sh", "-c", "true", "--handler"]),
            ["sh", "-c", "true", "--handler"]
        );
        assert_eq!(
            program(&["--command", r#"["a", "b c"]"#, "--handler", "command"]),
            ["a", "b c"]
        );
        assert_eq!(program(&["--command", r#"["a"]"#, "--", "b"]), ["b"]);
    }

    #[test]
    fn stdin_of_program_is_its_job_unless_it_is_to_be_empty() {
        let stdin = |flags: &[&str]| command(&[flags, &["--", "sh"]].concat()).stdin;
        assert_eq!(stdin(&[]), StdinContent::Job);
        for (value, content) in [
            ("Job", StdinContent::Job),
            ("Empty", StdinContent::Empty),
            ("empty", StdinContent::Empty),
        ] {
            assert_eq!(stdin(&["--command-stdin", value]), content);
        }
        let error = validate(&["--command-stdin", "none", "--", "sh"]).unwrap_err();
        assert!(error.contains("possible values: Job, Empty"), "{error}");
    }

    #[test]
    fn what_does_not_fit_together_is_refused_with_what_to_do() {
        for (flags, says) in [
            (&["--handler", "command"][..], "WORKERPOOL_COMMAND"),
            (&["--handler", "command", "--command", "[]"], "which program?"),
            (&["--handler", "command", "--command", "sh"], "no JSON array"),
            (&["--handler", "http"], "WORKERPOOL_HTTP_URL"),
            (
                &["--handler", "http", "--http-url", "https://a/"],
                "https is not spoken",
            ),
            (&["--handler", "sleep", "--", "sh"], "only"),
            (&["--result-max-bytes", "1048577"], "at most 1048576"),
        ] {
            let error = validate(flags).unwrap_err();
            assert!(error.contains(says), "{flags:?}: {error}");
        }
    }
}
