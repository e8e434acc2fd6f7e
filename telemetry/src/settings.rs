use std::env;

use clap::{Arg, builder::Resettable};

/// Makes a setting absent whose environment variable is set but empty. Charts and Secrets have an empty value for what is not
/// there: an empty user name would be sent to Redis, and an empty number would be refused.
///
/// For a program's arguments, or a group of them that programs flatten:
/// `#[command(mut_args(telemetry::ignore_empty_variable))]`. The program then needs nothing but clap's own `parse`.
pub fn ignore_empty_variable(setting: Arg) -> Arg {
    let value = setting.get_env().and_then(env::var_os);
    if value.is_some_and(|value| value.is_empty()) {
        setting.env(Resettable::Reset)
    } else {
        setting
    }
}
