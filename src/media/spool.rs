//! An upload on its way: a folder of its own, into which the body goes as it comes, and the gate puts what it makes of
//! it. Never a whole file in memory. The folder goes with the upload, and after a crash by its age.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hyper::body::Buf;
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorCode, Result};
use crate::limits::{Patience, Place};
use crate::pool::Pool;
use crate::sentence;

/// Bytes that are written at once.
const PART: usize = 256 << 10;

/// Where uploads lie while they come.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    lasts: bool,
    writers: Arc<Pool>,
}

/// How much an upload may bring, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes.
    pub bytes: u64,
    /// Between two parts, or below the pace.
    pub idle: Duration,
    /// The slowest pace.
    pub bytes_per_s: u32,
    /// From the first to the last.
    pub whole: Duration,
}

/// One upload. Its folder is removed with it.
#[derive(Debug)]
pub struct Upload {
    folder: PathBuf,
    file: Arc<File>,
    bytes: u64,
    lasts: bool,
    writers: Arc<Pool>,
}

impl Spool {
    /// Makes the folder, if it is not there. Where what lies in it will be kept, `lasts`, it is written through to the
    /// disk as it comes: so the disk, which the database needs too, never has much of it to write at once.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(folder: PathBuf, lasts: bool, writers: Arc<Pool>) -> std::result::Result<Spool, String> {
        make_private(&folder).map_err(|cause| format!("cannot make {}: {cause}", folder.display()))?;
        Ok(Spool { folder, lasts, writers })
    }

    /// A place for an upload; nobody else knows its name.
    pub async fn begin(&self, name: &str) -> Result<Upload> {
        let folder = self.folder.join(name);
        tokio::fs::create_dir(&folder).await.map_err(failed)?;
        let file = tokio::fs::File::create(folder.join("upload")).await;
        let file = file.inspect_err(|_| drop(std::fs::remove_dir_all(&folder))).map_err(failed)?;
        let (lasts, writers) = (self.lasts, Arc::clone(&self.writers));
        Ok(Upload { folder, file: Arc::new(file.into_std().await), bytes: 0, lasts, writers })
    }

    /// Removes what processes left behind that ended in the middle: whatever nobody has touched for so long.
    pub async fn sweep(&self, age: Duration) -> io::Result<()> {
        let mut entries = tokio::fs::read_dir(&self.folder).await?;
        while let Some(entry) = entries.next_entry().await? {
            if untouched(&entry.path(), age).await {
                // Another process may have removed it just now.
                let _ = tokio::fs::remove_dir_all(entry.path()).await;
            }
        }
        Ok(())
    }
}

/// A folder that only this account of the machine may read.
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Whether nothing wrote to a file or folder for so long.
pub(super) async fn untouched(path: &Path, age: Duration) -> bool {
    let changed = tokio::fs::metadata(path).await.and_then(|found| found.modified());
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// What the system said when a file could not be written or read.
pub(super) fn failed(cause: io::Error) -> Error {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorCode::Busy, sentence!("disk-full"))
        }
        _ => Error::internal(cause),
    }
}

/// More came than may come.
pub fn too_heavy(max: u64) -> Error {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    Error { field: Some("file".to_owned()), ..Error::new(ErrorCode::TooLong, sentence!("file-heavy", max = max)) }
}

impl Upload {
    /// Takes a body as it comes, as long as its place is not given to another.
    ///
    /// # Errors
    /// What was wrong with it: too much, too late, too slow, broken off.
    pub async fn take<B: Buf, E>(
        &mut self,
        body: impl Stream<Item = std::result::Result<B, E>>,
        bounds: Bounds,
        place: &Place,
    ) -> Result<()> {
        let mut body = pin!(body);
        let end = Instant::now() + bounds.whole;
        let mut patience = Patience::new(bounds.idle, bounds.bytes_per_s);
        let mut part = Vec::with_capacity(PART);
        loop {
            // Only the time that the client takes is counted, not that of the disk.
            let begun = Instant::now();
            let next = tokio::select! {
                next = timeout_at(end.min(begun + patience.left()), body.next()) => next,
                () = place.must_end() => return Err(Error::busy()),
            };
            let Some(piece) = next.map_err(|_| Error::field("file", sentence!("body-late")))? else { break };
            let mut piece = piece.map_err(|_| Error::field("file", sentence!("body-broken")))?;
            let (bytes, waited) = (piece.remaining() as u64, begun.elapsed());
            patience.came(bytes, waited);
            place.came(bytes, waited);
            self.bytes += piece.remaining() as u64;
            if self.bytes > bounds.bytes {
                return Err(too_heavy(bounds.bytes));
            }
            while piece.has_remaining() {
                let next = piece.chunk();
                part.extend_from_slice(next);
                let length = next.len();
                piece.advance(length);
            }
            if part.len() >= PART {
                part = self.write(part).await?;
            }
        }
        self.write(part).await.map(drop)
    }

    /// Writes a part on a thread for that, and gives its memory back, empty. Whoever sends waits meanwhile.
    async fn write(&self, mut part: Vec<u8>) -> Result<Vec<u8>> {
        let (file, lasts) = (Arc::clone(&self.file), self.lasts);
        let written = self.writers.run(move || {
            (&*file).write_all(&part)?;
            if lasts {
                file.sync_data()?;
            }
            part.clear();
            Ok(part)
        });
        written.await?.map_err(failed)
    }

    /// How much came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The file it lies in.
    pub fn path(&self) -> PathBuf {
        self.folder.join("upload")
    }

    /// The folder around it, for what is made of it.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A few files at most; what cannot be removed now goes by its age.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
