//! Examples as they stand in a document: who says what, who is told what.
//!
//! ```text
//! ann> {"id":1,"type":"ping"}
//! ann< {"id":1,"ok":true,"data":{"time":1795341600000000}}
//! ```
//!
//! A speaker is a user, or one of several devices of a user (`ann-phone`). `>` is said, `<` is told; what is said may also
//! be an HTTP request or, in brackets, something done. A line that begins with spaces goes on with the one before.

use serde_json::Value;

/// The examples of one fence.
#[derive(Debug)]
pub struct Block {
    /// Settings of a server of its own; none: the document's server.
    pub settings: Option<Vec<(String, String)>>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One thing that happens.
#[derive(Debug)]
pub struct Step {
    /// Where it begins in the document, counted from 0.
    pub line: usize,
    /// How many lines it takes.
    pub lines: usize,
    /// Who.
    pub speaker: String,
    /// What.
    pub what: What,
}

/// What a speaker does or is told.
#[derive(Debug)]
pub enum What {
    /// Sends a frame, so many times.
    Sends(usize, String),
    /// Calls `method path`, with a body.
    Calls(String, String, Option<Value>),
    /// Does something that is no frame.
    Does(String),
    /// Is told a frame.
    Told(Value),
    /// Is answered a call.
    Answered(u16, Option<Value>),
    /// Is closed with a code and a reason.
    Closed(u16, String),
}

/// All examples of a document.
///
/// # Panics
/// When one cannot be read, with its line.
pub fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.lines().collect();
    let mut blocks = Vec::new();
    let mut settings = None;
    let mut place = 0;
    while place < lines.len() {
        let line = lines[place];
        if let Some(own) = line.strip_prefix("<!-- server:").and_then(|rest| rest.strip_suffix("-->")) {
            settings = Some(pairs(own));
        }
        if line == "```session" {
            let end = place + 1 + lines[place + 1..].iter().position(|line| *line == "```").expect("a fence is closed");
            blocks.push(Block { settings: settings.take(), steps: steps(&lines, place + 1, end) });
            place = end;
        }
        place += 1;
    }
    blocks
}

/// The fault that a block wants its server to have.
pub fn fault(settings: &[(String, String)]) -> Option<&str> {
    settings.iter().find(|(name, _)| name == "planted").map(|(_, fault)| fault.as_str())
}

fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.replace('_', "-"), value.to_owned()));
    text.split_whitespace().map(|word| pair(word).unwrap_or_else(|| panic!("{word} is no setting=value"))).collect()
}

fn steps(lines: &[&str], begin: usize, end: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut place = begin;
    while place < end {
        let more = lines[place + 1..end].iter().take_while(|line| line.starts_with("  ")).count();
        let whole: String = std::iter::once(lines[place])
            .chain(lines[place + 1..=place + more].iter().map(|line| line.trim_start()))
            .collect();
        if !whole.is_empty() {
            steps.push(step(place, more + 1, &whole));
        }
        place += more + 1;
    }
    steps
}

fn step(line: usize, lines: usize, whole: &str) -> Step {
    let unclear = || format!("line {}: who says what? {whole}", line + 1);
    let mark = whole.find(['>', '<']).unwrap_or_else(|| panic!("{}", unclear()));
    let (speaker, rest) = (whole[..mark].to_owned(), whole[mark + 1..].trim_start());
    let json = |text: &str| -> Value {
        serde_json::from_str(&letters(text)).unwrap_or_else(|cause| panic!("line {}: {cause}: {text}", line + 1))
    };
    let what = if whole.as_bytes()[mark] == b'>' {
        said(rest)
    } else {
        told(rest, json).unwrap_or_else(|| panic!("{}", unclear()))
    };
    let what = match what {
        What::Calls(method, path, Some(Value::String(body))) => What::Calls(method, path, Some(json(&body))),
        other => other,
    };
    Step { line, lines, speaker, what }
}

fn said(rest: &str) -> What {
    if let Some((method, tail)) = rest.split_once(' ')
        && ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method)
    {
        let (path, body) = tail.split_once(' ').map_or((tail, None), |(path, body)| (path, Some(body)));
        return What::Calls(method.to_owned(), path.to_owned(), body.map(|body| Value::String(body.to_owned())));
    }
    match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((times, frame)) if times.ends_with(" times") => {
            let times = times.trim_end_matches(" times").parse().expect("how many times");
            What::Sends(times, letters(frame.trim_start()))
        }
        Some((act, "")) => What::Does(act.to_owned()),
        _ => What::Sends(1, letters(rest)),
    }
}

fn told(rest: &str, json: impl Fn(&str) -> Value) -> Option<What> {
    if let Some(closed) = rest.strip_prefix("(closed ").and_then(|rest| rest.strip_suffix(')')) {
        let (code, reason) = closed.split_once(' ').unwrap_or((closed, ""));
        return Some(What::Closed(code.parse().expect("a close code"), reason.to_owned()));
    }
    if rest.starts_with('{') {
        return Some(What::Told(json(rest)));
    }
    let (status, body) = rest.split_once(' ').map_or((rest, None), |(status, body)| (status, Some(body)));
    Some(What::Answered(status.parse().ok()?, body.map(json)))
}

/// `(4097 letters)` stands for so many of them, `(4096 faces)` for emojis of four bytes each.
fn letters(text: &str) -> String {
    let many = regex::Regex::new(r"\((\d+) (letters|faces)\)").expect("a pattern");
    let repeated = |found: &regex::Captures<'_>| {
        let sign = if &found[2] == "faces" { "\u{1f600}" } else { "x" };
        sign.repeat(found[1].parse().expect("a count"))
    };
    many.replace_all(text, repeated).into_owned()
}
