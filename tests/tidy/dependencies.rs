//! Cargo.toml names nothing that no code uses.

use std::collections::BTreeSet;

use super::{File, files, pattern};

/// The crates of a table of Cargo.toml, as code names them.
fn crates(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    manifest[table].as_table().expect("a table").keys().map(|name| name.replace('-', "_")).collect()
}

#[test]
fn every_dependency_is_used() {
    // Only for its features, which Cargo.toml tells.
    const UNNAMED: &[&str] = &["reqwest"];
    let manifest: toml::Table = toml::from_str(include_str!("../../Cargo.toml")).expect("a manifest");
    let unused_in = |table: &str, files: &[File]| {
        let code: String = files.iter().map(File::code).collect();
        // A path that begins with it, a macro of it in a path, or its name in a `use` of its own.
        let is_used = |name: &str| pattern(&format!(r"(?m)(?:^|[^\w:]){name}(?:::|;$)")).is_match(&code);
        let unused = crates(&manifest, table).into_iter().filter(|name| !is_used(name));
        unused.filter(|name| !UNNAMED.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let source = files("src");
    let all: Vec<File> = ["src", "tests", "benches"].into_iter().flat_map(files).collect();
    assert_eq!(unused_in("dependencies", &source), [""; 0], "[dependencies] that src/ does not name");
    assert_eq!(unused_in("dev-dependencies", &all), [""; 0], "[dev-dependencies] that nothing names");
}
