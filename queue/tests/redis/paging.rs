//! Pages of what is listed, while entries come and go.

use queue::{Cursor, Dead, JobId};

use crate::common::Fixture;

const DEAD: &str = "workerpool:queue:dead";
const INDEX: &str = "workerpool:queue:index";

fn members(entries: &[Dead]) -> Vec<String> {
    entries.iter().map(|dead| dead.member.clone()).collect()
}

/// So many of the same millisecond, named in the order in which they are listed.
fn of_one_time(fixture: &mut Fixture, n: usize) -> Vec<String> {
    let names: Vec<_> = (0..n).map(|i| format!("job-{:03}", n - i)).collect();
    for name in &names {
        fixture.ask::<()>(&["ZADD", DEAD, "1764000000001", name]);
    }
    names
}

#[tokio::test]
async fn dead_that_leave_a_page_hide_none_of_the_next() {
    let mut fixture = Fixture::new();
    let names = of_one_time(&mut fixture, 10);
    let producer = fixture.producer();
    let first = producer.dead(None, 4).await.unwrap();
    assert_eq!(members(&first.entries), names[..4]);
    // Also the one that the cursor names.
    for gone in [&names[0], &names[3], &names[5]] {
        fixture.ask::<()>(&["ZREM", DEAD, gone]);
    }
    let next = producer.dead(first.next.as_ref(), 100).await.unwrap();
    let left = [&names[4..5], &names[6..]].concat();
    assert_eq!(members(&next.entries), left);
    assert_eq!(next.next, None);
}

#[tokio::test]
async fn dead_that_join_a_page_are_not_listed_twice() {
    let mut fixture = Fixture::new();
    let names = of_one_time(&mut fixture, 6);
    let producer = fixture.producer();
    let first = producer.dead(None, 3).await.unwrap();
    fixture.ask::<()>(&["ZADD", DEAD, "1764000000001", "job-9"]);
    fixture.ask::<()>(&["ZADD", DEAD, "1764000000002", "job-0"]);
    let next = producer.dead(first.next.as_ref(), 3).await.unwrap();
    assert_eq!(members(&next.entries), names[3..]);
}

#[tokio::test]
async fn names_of_one_time_are_listed_in_the_order_of_their_bytes() {
    let mut fixture = Fixture::new();
    let mut names = ["a", "B", "ä", "ab", "_", "é", "Z", "z", "😀", "item:1", "~"].map(str::to_owned);
    for name in &names {
        fixture.ask::<()>(&["ZADD", DEAD, "1764000000001", name]);
    }
    names.sort_by(|one, other| other.as_bytes().cmp(one.as_bytes()));
    let (producer, mut listed, mut cursor) = (fixture.producer(), Vec::new(), None);
    loop {
        let page = producer.dead(cursor.as_ref(), 1).await.unwrap();
        listed.extend(members(&page.entries));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, names);
}

#[tokio::test]
async fn jobs_of_one_time_are_all_listed() {
    // As after the clock was put back: a time is given twice.
    let mut fixture = Fixture::new();
    let mut expected = fixture.submit(7).await;
    for id in &expected {
        fixture.ask::<()>(&["ZADD", INDEX, "1764000000000001", id.as_str()]);
    }
    expected.sort_by(|one, other| other.as_str().cmp(one.as_str()));
    let (producer, mut listed, mut cursor) = (fixture.producer(), Vec::<JobId>::new(), None);
    loop {
        let page = producer.list(cursor.as_ref(), 2).await.unwrap();
        listed.extend(page.jobs.into_iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, expected);
}

#[test]
fn cursor_survives_its_way_through_text() {
    let text = "1764000000001.c3a47e";
    assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
    for other in [
        "",
        "17640000000010003",
        "1764000000000001",
        ".6a",
        "1764.",
        "1764.6",
        "1764.+f",
        "x.6a",
        "176400000000100031.6a",
        "1764.zz",
        &format!("1.{}", "61".repeat(513)),
    ] {
        assert!(other.parse::<Cursor>().is_err(), "{other:?}");
    }
}
