//! The program with settings that cannot work.

use std::process::Command;

#[test]
fn settings_that_cannot_work_are_refused_in_one_line() {
    let refused = Command::new(env!("CARGO_BIN_EXE_workerpool-api"))
        .args(["--redis-address", "redis", "--log", "api=loud"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.starts_with("error: WORKERPOOL_LOG: `api=loud`"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(refused.status.code(), Some(2));
}
