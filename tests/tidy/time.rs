//! No test goes by time: it waits for what must come, and on however busy a machine it is green.

use super::{files, pattern};

#[test]
fn tests_wait_for_what_they_need_and_not_for_time() {
    // A sleep beside other branches of a select is a deadline, one in a loop a pause between two looks. Others say why.
    let sleeping = pattern(r"^\s*(?:tokio::time::|std::thread::|thread::)?sleep\(.*;");
    let reason = pattern(r"//");
    let mut bare = Vec::new();
    for file in files("tests").iter().filter(|file| !file.path.contains("/tidy")) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, _) in lines.iter().enumerate().filter(|(_, line)| sleeping.is_match(line)) {
            let around = &lines[number.saturating_sub(6)..=number];
            if !around.iter().any(|line| reason.is_match(line) || line.contains("loop") || line.contains("while")) {
                bare.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    assert!(bare.is_empty(), "sleeps without a reason beside them: {bare:?}");
}

/// Under a second, a deadline of the server is missed by a machine that has other things to do. Longer ones cost a story
/// only that it waits for them.
#[test]
fn stories_give_a_server_no_deadline_of_a_fraction_of_a_second() {
    let deadline = "auth|header|silent|write|upload|upload-idle|query|postgres-wait|postgres-statement|redis-wait|deaf";
    // None at all is a setting of its own: all that takes time is given up.
    let short = pattern(&format!(r#""(?:{deadline})-ms", ?"[1-9]\d{{0,2}}""#));
    must_have_none("deadlines under a second", &short);
}

/// What a promise says in seconds is true of a machine with a processor to spare; `Stopwatch` takes the rest off.
#[test]
fn stories_judge_how_long_something_took_by_the_stopwatch() {
    let bare = pattern(r"assert!\(.*elapsed\(\)(?:\.as_\w+\(\))? <=? (?:Duration::|\d)");
    must_have_none("durations that are compared with a time of the clock", &bare);
}

#[track_caller]
fn must_have_none(what: &str, unwanted: &regex::Regex) {
    let mut found = Vec::new();
    for file in files("tests").iter().filter(|file| !file.path.contains("/tidy")) {
        let lines = file.text.lines().enumerate().filter(|(_, line)| unwanted.is_match(line));
        found.extend(lines.map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim())));
    }
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}
