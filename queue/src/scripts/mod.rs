//! Every step of the protocol: one Lua file each, and beside it the typed call.
//!
//! A script is called by its hash. A server that does not know it (a new one, a `SCRIPT FLUSH`) answers NOSCRIPT;
//! then it is loaded and called again.

mod account;
mod beat;
mod cancel;
mod claim;
mod dead;
mod deregister;
mod details;
mod finish;
mod get;
mod give_back;
mod guard;
mod lengths;
mod list;
mod listing;
mod mark;
mod missing;
mod observe;
mod overview;
mod purge;
mod renew;
mod report;
mod result;
mod retry;
mod scratch;
mod states;
mod submit;
mod sweep;
mod tick;
mod turn;
mod workers;

use redis::{Cmd, Value};

pub(crate) use self::{
    beat::Beat,
    cancel::CancelJob,
    claim::Claim,
    dead::{DeleteDead, ListDead},
    deregister::Deregister,
    details::GetDetails,
    finish::FinishJobs,
    get::Get,
    give_back::GiveBack,
    guard::Guard,
    lengths::{LENGTHS, read_lengths, write_lengths_to},
    list::List,
    mark::{MarkPods, Marking},
    missing::EndMissing,
    observe::{OBSERVE, read_observed},
    overview::LookOver,
    purge::Purge,
    renew::Renew,
    report::Report,
    result::GetResult,
    retry::RetryDead,
    scratch::Scratch,
    states::{GetStates, TakeChanged},
    submit::{Submit, Submitted},
    sweep::{FindForeign, Sight},
    tick::{TickQueue, tick},
    turn::TakeTurn,
    workers::Workers,
};
use crate::{Result, keys::Keys};

/// A script's text and hash.
pub(crate) type Script = std::sync::LazyLock<redis::Script>;

/// Makes a static [`Script`] of its parts.
///
/// Those after the first are one function inside it. A call runs all of a script, so it makes each of its functions anew,
/// and for each variable of an outer one that a function uses, Lua searches the list of all variables of that outer
/// one that are in use so. What a function finds outside of the one that surrounds it, it is given without a search: for
/// a claim or a turn of one job that is a tenth of their time.
macro_rules! script {
    ($name:ident = $first:literal) => {
        pub(crate) static $name: $crate::scripts::Script =
            std::sync::LazyLock::new(|| redis::Script::new(include_str!($first)));
    };
    ($name:ident = $first:literal, $($part:literal),+) => {
        pub(crate) static $name: $crate::scripts::Script = std::sync::LazyLock::new(|| {
            redis::Script::new(concat!(
                include_str!($first),
                "\nreturn (function()\n",
                $(include_str!($part), "\n",)+
                "end)()\n"
            ))
        });
    };
}
use script;

/// One call of one script on one queue.
pub(crate) trait Step {
    /// What it answers.
    type Answer;

    /// The script.
    fn script(&self) -> &'static Script;

    /// KEYS and ARGV 1 to 4.
    fn write_keys(&self, keys: &Keys, cmd: &mut Cmd) {
        keys.write_to(cmd);
    }

    /// ARGV from 5 on.
    fn write_args(&self, cmd: &mut Cmd);

    /// Understands the script's answer.
    fn read(&self, answer: Value) -> Result<Self::Answer>;
}

/// The command that calls `step` on the queue with `keys`.
pub(crate) fn command<S: Step>(keys: &Keys, step: &S) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(step.script().get_hash());
    step.write_keys(keys, &mut cmd);
    step.write_args(&mut cmd);
    cmd
}

/// What the scripts' jitter starts from: a server's own random numbers are the same in each call.
fn jitter_seed() -> u32 {
    // The low bits of a random uuid; positive as an i32 too.
    (uuid::Uuid::new_v4().as_u128() as u32) >> 1
}
