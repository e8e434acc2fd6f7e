//! The password is rotated.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::common::{STOCK, Worker, redis, wait_until};

const SETTING: &str = "WORKERPOOL_REDIS_PASSWORD_FILE";

#[test]
fn worker_goes_on_with_rotated_password_without_restart() {
    let (redis, view) = redis();
    let file = redis.directory().join("password");
    let rotate = |to: &str| {
        let mut db = view.db(0);
        let rights = ["on", "resetpass", &format!(">{to}"), "~*", "&*", "+@all"];
        let mut user = redis::cmd("ACL");
        user.arg(&["SETUSER", "jobs"]).arg(&rights);
        user.query::<()>(&mut db).unwrap();
        let mut kill = redis::cmd("CLIENT");
        kill.arg(&["KILL", "USER", "jobs"]).query::<u64>(&mut db).unwrap();
    };
    rotate("old");
    fs::write(&file, "old\n").unwrap();
    let settings = [
        ("WORKERPOOL_REDIS_USERNAME", "jobs"),
        (SETTING, file.to_str().unwrap()),
        ("WORKERPOOL_SLEEP_SECONDS", "1"),
        ("WORKERPOOL_LOG", "info,worker=debug,telemetry=debug"),
    ];
    let worker = Worker::start(&redis, "10.0.0.7", &settings);
    let id = view.submit();
    view.wait_for_status(&id, "in progress");
    wait_until("the job is started", || worker.count("job started") == 1);

    rotate("new");
    worker.logs_failure_of("finish");
    fs::write(&file, "new\n").unwrap();
    view.wait_for_status(&id, "complete");
    view.wait_for_status(&view.submit(), "complete");
}

#[test]
fn password_file_that_cannot_be_read_is_refused_at_start() {
    let stock = Command::new(STOCK)
        .env("REDIS_IP", "127.0.0.1:1")
        .env(SETTING, "/no/such/file")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!stock.status.success());
    let said = String::from_utf8_lossy(&stock.stderr);
    assert!(said.contains("/no/such/file") && said.contains(SETTING), "{said}");
}
