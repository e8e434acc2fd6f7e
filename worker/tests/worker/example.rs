//! The example of a worker of one's own does what it is an example of.

use crate::{
    command::ONE_ATTEMPT,
    common::{Worker, redis},
    scripted,
};

#[test]
fn example_gives_a_result_says_how_far_it_is_and_stops_when_it_must() {
    let (redis, view) = redis();
    let settings = [("WORKERPOOL_JOB_TIMEOUT_SECONDS", "1"), ONE_ATTEMPT];
    let worker = Worker::start_command(scripted::command("thumbnail"), &redis, "10.0.0.7", &settings);
    let id = view.submit_job("", "4");
    view.wait_for_status(&id, "complete");
    let picture = b"P1\n1 4\n0\n1\n0\n1\n".to_vec();
    assert_eq!(
        view.result(&id),
        Some(("image/x-portable-bitmap".to_owned(), picture))
    );
    let progress = view.job(&id).progress.unwrap();
    assert_eq!((progress.percent, progress.message.as_str()), (Some(75), "row 3"));
    // More rows than there is time for.
    let late = view.submit_job("", "4000000000");
    view.wait_for_status(&late, "failed");
    assert_eq!(worker.ends(&late), "timed_out");
    let cut_off = worker.count("the handler did not stop in time and was cut off");
    assert_eq!(cut_off, 0);
}
