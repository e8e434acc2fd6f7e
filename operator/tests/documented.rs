//! docs/troubleshoot.md has a row for each reason that a condition can give, and for no other.

use std::collections::BTreeSet;

const DOCS: &str = include_str!("../../docs/troubleshoot.md");

/// The sources in which the reasons are. A new source of reasons belongs here.
const SOURCES: [&str; 8] = [
    include_str!("../src/refusal.rs"),
    include_str!("../src/status/conditions.rs"),
    include_str!("../src/status/mod.rs"),
    include_str!("../src/status/pods.rs"),
    include_str!("../src/pods/trouble.rs"),
    include_str!("../src/jobs/status.rs"),
    include_str!("../src/jobs/calls.rs"),
    include_str!("../../scaling/src/decision.rs"),
];

/// Literals of these sources that look like reasons: values of a condition's status, and a mode.
const NO_REASONS: [&str; 4] = ["True", "False", "Unknown", "Queue"];

#[test]
fn each_reason_has_row_in_troubleshooting_page() {
    let reasons: BTreeSet<&str> = SOURCES.iter().flat_map(|source| reasons_in(source)).collect();
    assert!(reasons.len() >= 80, "only {} found: {reasons:?}", reasons.len());
    let (_, tables) = DOCS.split_once("\n## What each status means\n").unwrap();
    let documented: BTreeSet<&str> = tables.lines().flat_map(reasons_of_row).collect();
    let missing: Vec<_> = reasons.difference(&documented).collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    let unknown: Vec<_> = documented.difference(&reasons).collect();
    assert!(unknown.is_empty(), "no condition has the reason: {unknown:?}");
}

/// The string literals that are one word in camel case, such as `"QueueTaken"`.
fn reasons_in(source: &str) -> impl Iterator<Item = &str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    // Every second piece stands between quotes: a line of these sources has no escaped quote beside a reason.
    let literals = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    literals.filter(|literal| is_reason(literal) && !NO_REASONS.contains(literal))
}

fn is_reason(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && word.chars().all(|letter| letter.is_ascii_alphanumeric())
        && word.chars().any(|letter| letter.is_ascii_lowercase())
}

/// The reasons in the first cell of a row: ``| `SecretNotFound`, `SecretIncomplete` | … |``.
fn reasons_of_row(line: &str) -> impl Iterator<Item = &str> {
    let cell = line
        .strip_prefix("| `")
        .and_then(|row| row.split(" | ").next())
        .unwrap_or_default();
    cell.split('`').filter(|word| is_reason(word))
}
