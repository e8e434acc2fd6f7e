use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Flags that say what is logged, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct LogArgs {
    /// What to log: a level, or a list such as `info,workerpool_api=debug`
    #[arg(long, env = "WORKERPOOL_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,

    /// How a line of the log is written
    #[arg(
        long,
        env = "WORKERPOOL_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people: time, level, message, fields.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

/// The text is not a filter of the `tracing-subscriber` `EnvFilter` syntax.
#[derive(Debug, thiserror::Error)]
#[error("WORKERPOOL_LOG: `{filter}` is no log filter ({reason}); try `info` or `info,workerpool_api=debug`")]
pub struct InvalidLogFilter {
    filter: String,
    reason: tracing_subscriber::filter::ParseError,
}

/// What is logged and how, checked: [`LogArgs`] whose filter was understood.
#[derive(Debug)]
pub struct Logs {
    filter: EnvFilter,
    format: LogFormat,
}

impl LogArgs {
    /// Reads the filter.
    ///
    /// # Errors
    /// [`InvalidLogFilter`], with a sentence that shows a correct one.
    pub fn validate(self) -> Result<Logs, InvalidLogFilter> {
        match EnvFilter::try_new(&self.log) {
            Ok(filter) => Ok(Logs {
                filter,
                format: self.log_format,
            }),
            Err(reason) => Err(InvalidLogFilter {
                filter: self.log,
                reason,
            }),
        }
    }
}

impl Logs {
    /// Starts logging to standard error; to be called once, at a program's start. A second call, or one in a
    /// process whose log was already set up (a test), changes nothing.
    pub fn init(self) {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_writer(std::io::stderr);
        // A program cannot log without a log, so there is nobody to tell about the refused second call.
        let _already_set = match self.format {
            LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(filter: &str) -> LogArgs {
        LogArgs {
            log: filter.to_owned(),
            log_format: LogFormat::Text,
        }
    }

    #[test]
    fn filter_with_levels_per_module_is_accepted() {
        assert!(args("warn,workerpool_api=debug,queue=trace").validate().is_ok());
    }

    #[test]
    fn bad_filter_is_refused_with_the_variable_and_an_example() {
        let refusal = args("workerpool_api=loud").validate().unwrap_err().to_string();
        assert!(
            refusal.contains("WORKERPOOL_LOG: `workerpool_api=loud`"),
            "{refusal}"
        );
        assert!(refusal.contains("try `info`"), "{refusal}");
    }
}
