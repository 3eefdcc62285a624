//! The key that signs tokens: from the settings, or made once and kept in the data directory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use data_encoding::HEXLOWER;

use crate::config::{Config, SECRET_MIN};

/// Parts of keys that stand in tutorials and templates, so that anybody can sign with them.
const KNOWN: &[&str] = &[
    "changeme",
    "change-me",
    "change_me",
    "change this",
    "django-insecure",
    "your-secret",
    "your_secret",
    "yoursecret",
    "your-256-bit",
    "replace-me",
    "replace_me",
    "replaceme",
    "example",
    "default",
    "insecure",
    "password",
];
/// A random key of 32 bytes has more different ones, with all but certainty.
const DIFFERENT_BYTES: usize = 8;

/// The key of the settings; without one, that of the data directory, made at the first start.
pub(super) fn settle(config: &Config) -> Result<String, String> {
    let given = config.secret.expose();
    if !given.is_empty() {
        judge(given, "secret")?;
        return Ok(given.to_owned());
    }
    let dir = &config.data_dir;
    fs::create_dir_all(dir).map_err(|cause| {
        format!("cannot make the data directory {}: {cause}; name another with --data-dir", dir.display())
    })?;
    let path = dir.join("secret");
    match read(&path)? {
        Some(key) => Ok(key),
        None => create(&path),
    }
}

/// Refuses a key that somebody else could know.
pub(super) fn judge(key: &str, name: &str) -> Result<(), String> {
    let advice = "take one from `openssl rand -hex 32`";
    if key.len() < SECRET_MIN {
        return Err(format!("{name} is too short: a key has at least {SECRET_MIN} bytes; {advice}"));
    }
    let lower = key.to_lowercase();
    let different = key.bytes().collect::<std::collections::HashSet<_>>().len();
    if different < DIFFERENT_BYTES || KNOWN.iter().any(|known| lower.contains(known)) {
        return Err(format!("{name} is one that anybody could guess; {advice}"));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let cannot = |cause: std::io::Error| format!("cannot read {shown}: {cause}");
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode(),
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cannot(cause)),
    };
    if mode & 0o077 != 0 {
        return Err(format!(
            "{shown} can be read by others (mode {:o}): remove it, which signs everybody out, or if nobody can have \
             read it, `chmod 600 {shown}`",
            mode & 0o777
        ));
    }
    let key = fs::read_to_string(path).map_err(cannot)?.trim().to_owned();
    judge(&key, &shown.to_string())?;
    Ok(Some(key))
}

/// Written whole under another name first, so that a crash leaves no half key, and linked, so that of two processes
/// that start at once both take the first one's.
fn create(path: &Path) -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|cause| format!("no random numbers from the system: {cause}"))?;
    let key = HEXLOWER.encode(&bytes);
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let cannot = |cause: std::io::Error| {
        format!("cannot write {}: {cause}; make its directory writable, or give the key as DUET_SECRET", path.display())
    };
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(cannot)?;
    let written = file.write_all(format!("{key}\n").as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    fs::remove_file(&beside).map_err(cannot)?;
    match linked {
        Ok(()) => Ok(key),
        Err(cause) if cause.kind() == ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| format!("{} came and went: start again", path.display()))
        }
        Err(cause) => Err(cannot(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        Config { data_dir: dir.to_owned(), ..Config::default() }
    }

    #[test]
    fn a_key_is_made_once_and_kept_to_the_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(&dir.path().join("new"));
        let first = settle(&config).expect("made");
        assert_eq!(settle(&config).expect("read"), first);
        let mode = fs::metadata(config.data_dir.join("secret")).expect("there").permissions().mode();
        assert_eq!((mode & 0o777, first.len()), (0o600, 64));
        assert_eq!(fs::read_dir(&config.data_dir).expect("readable").count(), 1);
    }

    #[test]
    fn s56_a_key_that_others_can_read_or_guess_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(dir.path());
        settle(&config).expect("made");
        let path = dir.path().join("secret");
        for mode in [0o640, 0o604, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
            assert!(settle(&config).expect_err("readable by others").contains("chmod 600"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        fs::write(&path, "short").expect("written");
        assert!(settle(&config).expect_err("short").contains("too short"));
        for guessable in
            ["a".repeat(64), "ChangeMe".repeat(8), format!("django-insecure-{}", "k3j4h5g6f7d8s9a0".repeat(3))]
        {
            assert!(judge(&guessable, "secret").is_err(), "{guessable}");
        }
    }
}
