//! The files of the service, from its media directory through the gate that uploads come through. Each comes under a key
//! that names where it was, so that a second run brings what is missing and nothing twice.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use super::{Answer, said};
use crate::catalogue::Language;
use crate::clock::machine;
use crate::error::{Error, Result};
use crate::media::{Media, Wanted};
use crate::model::{Text, UserId};
use crate::ops::files::{file_name, new_name, ready};
use crate::store::files::{self, NewFile};
use crate::store::imported::{self, FileRow};
use crate::store::{Purpose, Store};

/// Rows that are read together.
const TOGETHER: i64 = 500;
/// Files that the summary shows of each kind that did not come.
const SHOWN: usize = 5;

/// What became of the files.
#[derive(Default)]
struct Tally {
    came: usize,
    before: usize,
    /// By the reason.
    left_out: BTreeMap<String, Vec<String>>,
}

/// Brings the files that imported rows name. Answers a summary of all runs together.
///
/// # Errors
/// A sentence that says what to do; another run goes on from there.
pub async fn run(target: &Store, media: &Media, directory: &Path, progress: impl Fn(String)) -> Answer<String> {
    let root =
        directory.canonicalize().map_err(|cause| format!("--media: cannot read {}: {cause}", directory.display()))?;
    let (mut tally, mut after) = (Tally::default(), (String::new(), 0));
    loop {
        let page =
            imported::files_after(&mut target.read(Purpose::Server).await.map_err(said)?, &after, TOGETHER).await;
        let page = page.map_err(said)?;
        let Some(last) = page.last() else { break };
        after = (last.kind.clone(), last.subject);
        for row in &page {
            bring(target, media, &root, row, &mut tally).await.map_err(said)?;
        }
        progress(format!("files: {} came", tally.came));
    }
    Ok(tally.summary())
}

async fn bring(target: &Store, media: &Media, root: &Path, row: &FileRow, tally: &mut Tally) -> Result<()> {
    let key = Text::without_nul(format!("django:{}:{}", row.kind, row.subject));
    if files::under_key(&mut target.read(Purpose::Server).await?, row.owner, &key).await?.is_some() {
        tally.before += 1;
        return Ok(());
    }
    let Some(path) = below(root, &row.path) else {
        tally.leave_out("no file there, or one outside of the directory", row);
        return Ok(());
    };
    match keep(target, media, row, (&key, path)).await {
        Ok(()) => tally.came += 1,
        // What the gate refuses says so of one field; everything else stops the run.
        Err(error) if error.field.is_some() => tally.leave_out(&error.message.told_in(Language::English), row),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The file that a path of the service means: below its directory, also where a link leads somewhere else.
fn below(root: &Path, path: &str) -> Option<PathBuf> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let found = root.join(path).canonicalize().ok().filter(|_| plain)?;
    (found.starts_with(root) && found.is_file()).then_some(found)
}

/// Takes one file in as an upload is: its row before its bytes, and in the end what refers to it.
async fn keep(target: &Store, media: &Media, row: &FileRow, (key, path): (&Text, PathBuf)) -> Result<()> {
    let is_picture = row.kind == "profile";
    let wanted = if is_picture { Wanted::Image } else { Wanted::Anything };
    let name = new_name()?;
    let place = media.spool.begin(&name).await?;
    let taken = media.gate.take(path, place.folder(), wanted).await?;
    let (sizes, ready) = (taken.sizes.clone(), ready(taken));
    let file_name = file_name(&row.path);
    let new = NewFile {
        owner: row.owner,
        name: &name,
        client_key: Some(key),
        file_name: &file_name,
        bytes: ready.bytes,
        at: machine(),
    };
    let mut tx = target.begin(Purpose::Server).await?;
    let file = files::begin(&mut tx, &new).await?;
    tx.commit(|| ()).await?;
    for size in sizes {
        media.shelf.put(&name, size.size, &size.path).await?;
    }
    let mut tx = target.begin(Purpose::Server).await?;
    files::finish(&mut tx, file, &ready, machine()).await?.ok_or_else(Error::busy)?;
    if is_picture {
        files::set_pictures(&mut tx, row.owner, &[file]).await?;
    } else {
        imported::attach(&mut tx, row.subject, file).await?;
    }
    tx.commit(|| ()).await
}

impl Tally {
    fn leave_out(&mut self, why: &str, row: &FileRow) {
        let UserId(owner) = row.owner;
        let of = if row.kind == "profile" { format!("user {owner}") } else { format!("message {}", row.subject) };
        self.left_out.entry(why.to_owned()).or_default().push(of);
    }

    fn summary(&self) -> String {
        let mut text = format!("Of the files, {} came now and {} before.\n", self.came, self.before);
        for (why, of) in &self.left_out {
            let more = if of.len() > SHOWN { ", ..." } else { "" };
            let first = of.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            // Writing into a string does not fail.
            let _ = writeln!(text, "  {} x left out ({first}{more}): {why}", of.len());
        }
        text
    }
}
