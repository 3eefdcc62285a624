//! Keeps the file of a database, and what lies beside it, from other users of the machine. The process makes new files
//! private by itself (see `main.rs`); this closes those that an older version left open.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What duet itself puts into a data directory, beside the database and its companions.
const OURS: [&str; 2] = ["secret", "media"];
/// The ends of the names of what belongs to a database file.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];

/// Takes the rights of others away. What cannot be changed is said in the log, and is no reason not to start.
pub(super) fn close_to_others(database: &Path, lock: &Path) {
    let mut files = companions(database);
    files.push(lock.to_owned());
    let folder = database.parent().filter(|folder| holds_only_ours(folder, &files).unwrap_or(false));
    for (path, mode) in files.iter().map(|file| (file.as_path(), 0o600)).chain(folder.map(|folder| (folder, 0o700))) {
        match close(path, mode) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %cause, "others may read this");
            }
            _ => {}
        }
    }
}

fn companions(database: &Path) -> Vec<PathBuf> {
    let named = |end: &&str| {
        let mut name = database.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    COMPANIONS.iter().map(named).collect()
}

/// Whether a folder is a data directory and nothing else: one that holds files of others is theirs to close.
fn holds_only_ours(folder: &Path, files: &[PathBuf]) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_ours = OURS.iter().any(|ours| name == *ours) || files.contains(&entry.path());
        // A copy of the database, as `duet backup` makes it.
        let is_copy = entry.path().extension().is_some_and(|extension| extension == "db");
        if !is_ours && !is_copy {
            return Ok(false);
        }
    }
    Ok(true)
}

fn close(path: &Path, mode: u32) -> io::Result<()> {
    let now = fs::metadata(path)?.permissions().mode();
    if now & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode)) }
}
