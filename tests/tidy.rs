//! The rules of the house, held as assertions. ARCHITECTURE.md says why.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/time.rs"]
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// Most lines of a file.
const LINES: usize = 500;

/// Who may know whom. An arrow that is not listed is not allowed; anybody may know `ANYBODY`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("main", &["app", "http", "operator", "output"]),
    ("lib", &["app", "http", "operator"]),
    // The operator's commands work on the store beside a running server.
    ("operator", &["auth", "clock", "import", "media", "store", "text"]),
    // What comes from another service is brought into the shapes of this one: passwords, places, names, files.
    ("import", &["auth", "clock", "matching", "media", "ops", "store", "text"]),
    ("http", &["app", "auth", "limits", "media", "ops", "protocol", "socket", "text"]),
    ("socket", &["app", "feed", "hub", "limits", "ops", "protocol"]),
    // What a write has to tell is a Notice of the bus; which sockets must close is said in the hub's words.
    ("ops", &["app", "auth", "bus", "hub", "limits", "matching", "media", "protocol", "store", "text"]),
    // The bus hands what it hears to the feed; over all nodes a rate is counted in the words of the limits.
    ("bus", &["feed", "hub", "limits", "protocol"]),
    ("jobs", &["app", "ops", "store"]),
    ("feed", &["bus", "clock", "hub", "protocol", "store"]),
    ("app", &["auth", "bus", "feed", "hub", "limits", "media", "store"]),
    // The store answers some shapes of replies, and names no event. A copy folds all texts anew.
    ("store", &["protocol", "text"]),
    ("hub", &[]),
    ("clock", &[]),
    ("auth", &["pool"]),
    ("limits", &[]),
    ("matching", &[]),
    ("media", &["limits", "pool"]),
    ("pool", &[]),
    ("metrics", &[]),
    ("model", &[]),
    ("error", &[]),
    ("config", &[]),
    ("output", &[]),
    ("catalogue", &[]),
    ("protocol", &[]),
    ("text", &[]),
    ("planted", &[]),
];

/// What says nothing about who depends on whom. `planted` is the constant `false` outside of the tests of the tests.
const ANYBODY: &[&str] = &["model", "error", "catalogue", "config", "metrics", "planted"];

/// The rows of the security list that are promised, each by a test whose name begins with its number.
const PROMISED: &[u32] = &[
    1, 3, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33,
    34, 35, 36, 37, 38, 39, 40, 42, 43, 44, 45, 46, 50, 54, 55, 56, 58, 59,
];

/// What all answers of the REST surface have in common, and the rules behind them: each proven by a test of this name.
const CONTRACT: &[&str] = &[
    "form_body_texts_dates_and_numbers",
    "form_body_lists",
    "form_body_integers_choices_and_booleans",
    "form_headers_of_every_answer",
    "form_head_mirrors_get",
    "form_options",
    "form_preflight",
    "form_trailing_slash",
    "form_suffix_and_format",
    "form_accept",
    "form_unrouted",
    "form_numbers_as_strings",
    "form_dates_and_times",
    "form_unknown_fields_are_ignored",
    "form_401_no_credentials",
    "form_401_bad_header",
    "form_401_bad_token",
    "form_401_expired_refresh_token",
    "form_401_user_deleted",
    "form_401_user_inactive",
    "form_401_no_user_claim",
    "form_claims",
    "form_no_rotation_unless_asked",
    "form_required_null_blank",
    "form_max_length",
    "form_types",
    "form_email_date_choice",
    "form_username_characters",
    "form_nul_character",
    "form_body_is_no_object",
    "form_broken_json",
    "form_all_fields_at_once_in_order",
    "form_lists_of_items",
    "form_files",
    "form_language",
    "form_403",
    "form_404_object",
    "form_404_generic",
    "form_405",
    "form_406",
    "form_413",
    "form_415",
    "form_429",
    "form_429_of_any_call",
    "form_429_of_one_second",
    "form_bare_lists",
    "form_pages",
    "form_page_out_of_range",
    "form_limit_and_offset",
    "form_pages_of_every_list",
    "form_lists_are_capped",
    "form_password_rules",
    "rule_when_a_match_exists",
    "rule_unlike",
    "rule_conversation_on_match",
    "rule_who_may_message_whom",
    "rule_block",
    "rule_a_block_looks_like_a_deletion",
    "rule_unblock",
    "rule_potential_matches",
    "rule_leave",
    "rule_presence",
];

/// A file of the project.
struct File {
    /// From the project's root, with `/`.
    path: String,
    text: String,
}

impl File {
    /// The room it belongs to: `ops/messages.rs` to `ops`.
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// Its text without comments. Only in `src`, where no string looks like a comment but URLs.
    fn code(&self) -> String {
        let line = |line: &str| {
            let end =
                line.match_indices("//").find(|(place, _)| !line[..*place].ends_with(':')).map(|(place, _)| place);
            line[..end.unwrap_or(line.len())].to_owned()
        };
        self.text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The code before its tests.
    fn served(&self) -> String {
        let code = self.code();
        let tests = if self.path.ends_with("/tests.rs") { Some(0) } else { code.find("#[cfg(test)]\nmod tests") };
        code[..tests.unwrap_or(code.len())].to_owned()
    }
}

fn files(under: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut waiting = vec![root.join(under)];
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                waiting.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                files.push(read(root, &entry));
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

fn read(root: &Path, path: &PathBuf) -> File {
    let text = std::fs::read_to_string(path).expect("a text");
    let path = path.strip_prefix(root).expect("inside").to_string_lossy().replace('\\', "/");
    File { path, text }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// Fails with every line, in the code of these files, that a pattern finds.
#[track_caller]
fn nowhere<'a>(rule: &str, unwanted: &str, files: impl IntoIterator<Item = &'a File>) {
    let unwanted = pattern(unwanted);
    let mut found = Vec::new();
    for file in files {
        for (number, line) in file.served().lines().enumerate().filter(|(_, line)| unwanted.is_match(line)) {
            found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
        }
    }
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The rooms that the code of a file names.
fn known(code: &str) -> BTreeSet<String> {
    let plain = pattern(r"\b(?:crate|duet)::([a-z_]+)");
    let grouped = pattern(r"\b(?:crate|duet)::\{([^}]*)\}");
    let mut rooms: BTreeSet<String> = plain.captures_iter(code).map(|found| found[1].to_owned()).collect();
    for group in grouped.captures_iter(code) {
        let names = group[1].split(',').map(|name| name.trim().split("::").next().unwrap_or_default());
        rooms.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    rooms
}

#[test]
fn nobody_knows_whom_they_should_not() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let mut wrong = Vec::new();
    let files = files("src");
    let rooms: BTreeSet<&str> = files.iter().map(File::room).collect();
    for file in &files {
        let Some(allowed) = allowed.get(file.room()) else {
            wrong.push(format!("{} belongs to a room that the table does not have", file.path));
            continue;
        };
        for other in known(&file.served()).iter().filter(|other| rooms.contains(other.as_str())) {
            let fine = other == file.room() || ANYBODY.contains(&other.as_str()) || allowed.contains(&other.as_str());
            if !fine {
                wrong.push(format!("{} knows {other}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_arrow_that_nobody_uses() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files("src") {
        used.entry(file.room().to_owned()).or_default().extend(known(&file.served()));
    }
    // lib.rs declares its rooms and calls them by their bare names.
    let unused = MAY_KNOW.iter().filter(|(room, _)| *room != "lib").flat_map(|(room, known)| {
        let used = used.get(*room).cloned().unwrap_or_default();
        known.iter().filter(move |other| !used.contains(**other)).map(move |other| format!("{room} -> {other}"))
    });
    let unused: Vec<String> = unused.collect();
    assert!(unused.is_empty(), "not needed any more: {unused:?}");
}

#[test]
fn files_are_short() {
    let all = files("src").into_iter().chain(files("tests"));
    let long = all.filter(|file| file.text.lines().count() > LINES);
    let long: Vec<String> = long.map(|file| format!("{}: {}", file.path, file.text.lines().count())).collect();
    assert!(long.is_empty(), "more than {LINES} lines: {long:?}");
}

#[test]
fn only_the_store_speaks_sql() {
    let files = files("src");
    let others = files.iter().filter(|file| file.room() != "store");
    // Rows and public shapes are one type, so the shapes derive how they are read from a row; no more than that.
    nowhere("only store/ uses sqlx", r"sqlx::(?:[^TF]|T[^y]|F[^r])|use sqlx", others);
    nowhere("only bus/ uses redis", r"\bredis::", files.iter().filter(|file| file.room() != "bus"));
}

#[test]
fn what_is_visible_is_decided_in_one_place() {
    let files = files("src");
    // Rows of pairs are written in pairs.rs and, by an import, in imported.rs; the registry names all columns.
    let places = ["src/store/visible.rs", "src/store/pairs.rs", "src/store/imported.rs", "src/store/registry.rs"];
    let others = files.iter().filter(|file| file.room() == "store" && !places.contains(&file.path.as_str()));
    nowhere("blocks are judged by the fragments of store/visible.rs", r"_blocked_at", others);
}

#[test]
fn only_media_takes_pictures_apart() {
    let files = files("src");
    let decoders = r"\b(?:image|png|gif|image_webp|zune_jpeg|blurhash)::";
    nowhere("only media/ decodes", decoders, files.iter().filter(|file| file.room() != "media"));
}

#[test]
fn only_the_socket_writes_to_a_socket() {
    let files = files("src");
    let writes = r"SinkExt|WebSocketStream|tungstenite::Message|\bMessage::(?:Text|Binary|Ping|Pong|Close)\b";
    // The upgrade makes the stream and hands it over.
    let others = files.iter().filter(|file| file.room() != "socket" && file.path != "src/http/upgrade.rs");
    nowhere("only socket.rs writes to a socket", writes, others);
    let upgrade = files.iter().filter(|file| file.path == "src/http/upgrade.rs");
    nowhere("the upgrade only hands the stream over", r"SinkExt|\.send\(|\.feed\(|\.flush\(", upgrade);
}

#[test]
fn only_config_reads_the_environment() {
    let files = files("src");
    let others = files.iter().filter(|file| file.room() != "config");
    nowhere("only config.rs reads the environment", r"\benv::(?:var|vars|var_os|vars_os)\b", others);
}

#[test]
fn the_hub_never_awaits() {
    let files = files("src");
    nowhere("the hub never awaits", r"\basync\b|\.await\b", files.iter().filter(|file| file.room() == "hub"));
}

#[test]
fn the_store_names_no_event() {
    let files = files("src");
    let store = files.iter().filter(|file| file.room() == "store");
    nowhere("the store names no event", r"\bEvent\b|protocol::events|\bNotice\b", store);
}

#[test]
fn operations_name_no_transport() {
    let files = files("src");
    // An encoded reply is a text that any transport can carry; Utf8Bytes is its type.
    let transports = r"\bwarp\b|\bhyper|WebSocketStream|TcpStream|crate::(?:http|socket)\b|\btungstenite::(?:Message|protocol|Error|handshake)";
    nowhere("ops names no transport", transports, files.iter().filter(|file| file.room() == "ops"));
}

#[test]
fn matching_reads_no_clock_and_waits_for_nothing() {
    let files = files("src");
    let matching = files.iter().filter(|file| file.room() == "matching");
    nowhere("matching is pure", r"SystemTime|Instant|\bnow\(\)|\basync\b|tokio|std::(?:fs|net|io)\b", matching);
}

#[test]
fn secrets_are_not_shown() {
    let files = files("src");
    let derives =
        pattern(r"#\[derive\(([^)]*)\)\]\s*(?:///[^\n]*\n\s*)*pub(?:\([a-z]+\))? struct (\w*Secret\w*|Auth|Login)\b");
    let shown = files.iter().flat_map(|file| {
        derives
            .captures_iter(&file.text)
            .filter(|found| found[1].contains("Serialize"))
            .map(|found| found[2].to_owned())
    });
    let shown: Vec<String> = shown.collect();
    // The input of the command `auth` is parsed, and made into JSON by clients in Rust; no server encodes it.
    assert!(shown.is_empty(), "secrets that derive Serialize: {shown:?}");
}

/// Rooms of the store whose texts come from the server itself, or from an import, which leaves U+0000 out.
const OWN_TEXTS: &[&str] = &["copy.rs", "django.rs", "imported.rs", "old_key.rs", "streams.rs"];

#[test]
fn n01_no_text_from_outside_reaches_the_database_unproven() {
    let files = files("src");
    let commands = files.iter().find(|file| file.path == "src/protocol/commands.rs").expect("the commands");
    let code = commands.served();
    let inputs = code.split("\ninputs! {").nth(1).expect("the inputs").split("\n}").next().expect("their end");
    assert!(
        !pattern(r"\bString\b").is_match(inputs),
        "inputs of commands hold model::Text, which is judged as it is read"
    );
    let form = files.iter().find(|file| file.path == "src/http/django/form.rs").expect("the form").served();
    let bare = pattern(r"fn \w+\(&(?:mut )?self, name: &str\) -> [^{]*\bString\b");
    assert!(!bare.is_match(&form), "fields of requests are model::Text");
    let taking = pattern(r"pub(?:\(\w+\))? async fn (\w+)\(\s*(?:tx|conn): &mut Conn,([^{]*?)\) -> ");
    let written = pattern(r"pub struct (New\w+|ProfileChange)(?:<'a>)? \{([^}]*)\}");
    let text = pattern(r"\bstr\b|\bString\b");
    let mut found = Vec::new();
    let store =
        files.iter().filter(|file| file.room() == "store" && !OWN_TEXTS.iter().any(|own| file.path.ends_with(own)));
    for file in store {
        let code = file.served();
        let all = taking.captures_iter(&code).chain(written.captures_iter(&code));
        found.extend(all.filter(|taken| text.is_match(&taken[2])).map(|taken| format!("{}: {}", file.path, &taken[1])));
    }
    assert!(found.is_empty(), "these take text that could fail the statements of others; use model::Text: {found:?}");
}

#[test]
fn nothing_is_left_for_later() {
    // Assembled, so that this file does not find itself.
    let words = ["TO", "FIX"].map(|word| format!("{word}{}", if word == "TO" { "DO" } else { "ME" }));
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!"));
    let ignored = format!("#[{}", "ignore");
    let mut found = Vec::new();
    for file in files("src").into_iter().chain(files("tests")) {
        for (number, line) in file.text.lines().enumerate() {
            let unwanted = words.iter().chain(&macros).chain([&ignored]).find(|word| line.contains(word.as_str()));
            found.extend(unwanted.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The names of the sentences of a catalogue, each with its gaps.
fn sentences(catalogue: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (name, gap) = (pattern(r"^([a-z][a-z-]*) ="), pattern(r"\$([a-z]+)"));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut last = String::new();
    for line in catalogue.lines().filter(|line| !line.starts_with('#')) {
        if let Some(named) = name.captures(line) {
            last = named[1].to_owned();
            found.insert(last.clone(), BTreeSet::new());
        }
        found.entry(last.clone()).or_default().extend(gap.captures_iter(line).map(|gap| gap[1].to_owned()));
    }
    found.remove("");
    found
}

#[test]
fn every_sentence_is_in_both_languages_and_said_somewhere() {
    let english = sentences(include_str!("../src/catalogue/en.ftl"));
    let french = sentences(include_str!("../src/catalogue/fr.ftl"));
    assert_eq!(english, french, "the catalogues differ");
    let (said, gap) = (pattern(r#"^\(\s*"([a-z-]+)"([^;]*)"#), pattern(r"\b([a-z]+) = "));
    let mut used = BTreeSet::new();
    for file in files("src").iter().filter(|file| file.path != "src/catalogue.rs") {
        let code = file.served();
        for found in code.split("sentence!").filter_map(|after| said.captures(after)) {
            let gaps = english.get(&found[1]).unwrap_or_else(|| panic!("{}: no sentence {}", file.path, &found[1]));
            // What follows the sentence may hold other assignments, so its own gaps must be among them.
            let given: BTreeSet<String> = gap.captures_iter(&found[2]).map(|gap| gap[1].to_owned()).collect();
            assert!(gaps.is_subset(&given), "{}: {} has the gaps {gaps:?}, given {given:?}", file.path, &found[1]);
            used.insert(found[1].to_owned());
        }
    }
    let unused: Vec<&String> = english.keys().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "said nowhere: {unused:?}");
}

#[test]
fn every_promised_security_row_has_a_test() {
    let named = pattern(r"fn s(\d+)_");
    let mut tested: BTreeSet<u32> = BTreeSet::new();
    for file in files("src").into_iter().chain(files("tests")) {
        tested.extend(named.captures_iter(&file.text).filter_map(|found| found[1].parse::<u32>().ok()));
    }
    let missing: Vec<String> =
        PROMISED.iter().filter(|row| !tested.contains(row)).map(|row| format!("S{row}")).collect();
    assert!(missing.is_empty(), "no test begins with the number of: {}", missing.join(", "));
}

/// The name of the test of an endpoint: `row_`, the method, and the words of the path.
fn row(method: &str, path: &str) -> String {
    let words: Vec<String> = path
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!("row_{}_{}", method.to_lowercase(), words.join("_"))
}

#[test]
fn every_row_of_the_contract_has_a_test() {
    let tests = files("tests/contract");
    let named = pattern(r"#\[tokio::test[^\n]*\]\n(?:async )?fn ((?:row|form|rule)_\w+)\(");
    let found = |file: &File| named.captures_iter(&file.text).map(|found| found[1].to_owned()).collect::<Vec<_>>();
    let tested: BTreeSet<String> = tests.iter().flat_map(found).collect();
    // Those that the server has, and those that the contract has.
    let listed = pattern(r#"\("([A-Z]+)", "(/api/[^"]*)"\),"#);
    let main = tests.iter().find(|file| file.path.ends_with("/main.rs")).expect("the list of rows");
    let listed = listed.captures_iter(&main.text).map(|found| row(&found[1], &found[2]));
    let served = duet::http::django::ROUTES.iter().map(|(method, path)| row(method, path));
    let promised = CONTRACT.iter().map(|name| (*name).to_owned());
    let wanted: BTreeSet<String> = listed.chain(served).chain(promised).collect();
    let missing: Vec<&String> = wanted.difference(&tested).collect();
    assert!(wanted.len() > CONTRACT.len() + 30 && missing.is_empty(), "no test bears the name of: {missing:?}");
}
