//! How documents are held to the code: what can be generated is, and what is shown is played.

pub mod line;
pub mod player;
pub mod session;
pub mod shape;
pub mod tables;
pub mod terminal;
pub mod walk;

use std::path::{Path, PathBuf};

/// Where a document lies.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a document.
pub fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|cause| panic!("{name}: {cause}"))
}

/// Whether documents are to be rewritten instead of compared: `UPDATE=1 cargo test --test protocol_doc`.
#[expect(clippy::disallowed_methods, reason = "how a test is run is not a setting of the server")]
pub fn updating() -> bool {
    std::env::var("UPDATE").is_ok_and(|value| value == "1")
}

/// Compares a document with what it should be, or rewrites it.
///
/// # Panics
/// When they differ: with the first line that does.
pub fn hold(name: &str, wanted: &str) {
    let found = std::fs::read_to_string(path(name)).unwrap_or_default();
    if found == wanted {
        return;
    }
    if updating() {
        std::fs::write(path(name), wanted).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        return;
    }
    let mut lines = found.lines().zip(wanted.lines()).enumerate();
    let first = lines.find(|(_, (found, wanted))| found != wanted);
    let (line, found, wanted) = first.map_or_else(
        || (found.lines().count().min(wanted.lines().count()), "(its end)", "(more, or less)"),
        |(line, (found, wanted))| (line, found, wanted),
    );
    panic!("{name}:{} differs from the code; UPDATE=1 rewrites it\n  has:    {found}\n  wanted: {wanted}", line + 1);
}

/// A document with the text between `<!-- generated: name -->` and `<!-- end -->` replaced.
///
/// # Panics
/// When the marks are not there.
pub fn with_generated(text: &str, name: &str, body: &str) -> String {
    let mark = format!("<!-- generated: {name} -->\n");
    let begin = text.find(&mark).unwrap_or_else(|| panic!("no mark {}", mark.trim())) + mark.len();
    let end = text[begin..].find("<!-- end -->").unwrap_or_else(|| panic!("no end of {}", mark.trim())) + begin;
    format!("{}\n{}\n\n{}", &text[..begin], body.trim_end(), &text[end..])
}
