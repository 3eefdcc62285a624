//! Where the bytes of files lie: a directory of this machine, or a bucket of an S3 service, by the setting `media_url`.
//! The only place that knows which. Each size of a file is an object of its own, and is there whole or not at all.

use std::fmt;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use hyper::body::Bytes;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use percent_encoding::percent_decode_str;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::Semaphore;
use url::Url;

use super::Size;
use super::spool::{failed as cannot_read, make_private, untouched};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Micros;
use crate::pool::Pool;
use crate::sentence;

/// The folder of a directory in which uploads lie until they are kept.
const INCOMING: &str = "incoming";
/// Bytes that are copied at once: to S3, no part but the last of an object may be smaller.
const PART: usize = 5 << 20;
/// Objects that are sent to S3 at once, each with one part in memory. Into a directory they go one after the other, so
/// that the disk, which the database may need, has little to do at a time.
const WRITING: usize = 8;

/// How long a bucket may say nothing.
const SILENT: Duration = Duration::from_secs(20);
/// How often, and for how long, something is tried again with a bucket that has a moment of weakness.
const AGAIN: (usize, Duration) = (3, Duration::from_secs(10));

/// The shelf.
pub struct Shelf {
    store: Arc<dyn ObjectStore>,
    /// The directory, if it is one.
    folder: Option<PathBuf>,
    incoming: PathBuf,
    writers: Arc<Pool>,
    /// Places for those who write there at once.
    writing: Semaphore,
}

/// An object, or a part of it, to be read.
pub struct Kept {
    /// How long the whole object is.
    pub length: u64,
    /// Which of its bytes these are.
    pub range: Range<u64>,
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

impl Size {
    const ALL: [Size; 3] = [Size::Whole, Size::Medium, Size::Small];

    /// What it is called in URLs and on the shelf.
    pub fn name(self) -> &'static str {
        match self {
            Size::Whole => "whole",
            Size::Medium => "medium",
            Size::Small => "small",
        }
    }

    /// The size of a name.
    pub fn named(name: &str) -> Option<Size> {
        Size::ALL.into_iter().find(|size| size.name() == name)
    }
}

/// Where a size of a file lies: in one of some thousand folders, by the beginning of its name.
fn place(name: &str, size: Size) -> Result<Path> {
    let folder = name.get(..2).ok_or_else(|| Error::internal("a file without a name"))?;
    Path::parse(format!("{folder}/{name}.{}", size.name())).map_err(Error::internal)
}

impl Shelf {
    /// Opens the shelf that the settings name.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(config: &Config, writers: Arc<Pool>) -> std::result::Result<Shelf, String> {
        let (store, folder) = Shelf::named(config)?;
        let incoming = folder.as_ref().map_or_else(|| config.data_dir.join("uploads"), |folder| folder.join(INCOMING));
        let writing = Semaphore::new(if folder.is_some() { 1 } else { WRITING });
        Ok(Shelf { store, folder, incoming, writers, writing })
    }

    fn named(config: &Config) -> std::result::Result<(Arc<dyn ObjectStore>, Option<PathBuf>), String> {
        if config.media_url.is_empty() {
            return Shelf::in_folder(config.data_dir.join("media"));
        }
        let url = Url::parse(&config.media_url).map_err(|cause| format!("--media-url: {cause}"))?;
        match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| "--media-url: no such directory can be".to_owned())?;
                Shelf::in_folder(folder)
            }
            "s3" => Ok((in_bucket(&url).map_err(|cause| format!("--media-url: {cause}"))?, None)),
            _ => Err("--media-url: a URL begins with file:/// or s3://".to_owned()),
        }
    }

    fn in_folder(folder: PathBuf) -> std::result::Result<(Arc<dyn ObjectStore>, Option<PathBuf>), String> {
        let shown = folder.display();
        make_private(&folder).map_err(|cause| format!("cannot make the media directory {shown}: {cause}"))?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|cause| format!("{shown}: {cause}"))?;
        // Synced, since the database will say that it is there.
        Ok((Arc::new(store.with_fsync(true)), Some(folder)))
    }

    /// Where uploads lie until they are put here, and whether they are kept as they lie there.
    pub(super) fn incoming(&self) -> (PathBuf, bool) {
        (self.incoming.clone(), self.folder.is_some())
    }

    /// Puts a size of a file there. What came into the directory itself is moved; what lies elsewhere is copied.
    pub async fn put(&self, name: &str, size: Size, from: &FilePath) -> Result<()> {
        let to = place(name, size)?;
        let inside = self.folder.as_ref().and_then(|folder| from.strip_prefix(folder).ok()?.to_str());
        match inside {
            Some(inside) => self.take_over(from, &Path::parse(inside).map_err(Error::internal)?, &to).await,
            None => self.copy(from, &to).await,
        }
    }

    async fn take_over(&self, file: &FilePath, from: &Path, to: &Path) -> Result<()> {
        let file = file.to_owned();
        // Synced, since the database will say that it is there; the store sees to the rest.
        let synced = self.writers.run(move || std::fs::File::open(file)?.sync_all());
        synced.await?.map_err(cannot_read)?;
        let _writing = self.writing.acquire().await.map_err(Error::internal)?;
        self.store.rename(from, to).await.map_err(failed)
    }

    async fn copy(&self, from: &FilePath, to: &Path) -> Result<()> {
        let _writing = self.writing.acquire().await.map_err(Error::internal)?;
        let mut file = File::open(from).await.map_err(cannot_read)?;
        let first = part(&mut file).await?;
        if first.len() < PART {
            self.store.put(to, first.into()).await.map_err(failed)?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(to).await.map_err(failed)?;
        let mut next = first;
        let written = async {
            while !next.is_empty() {
                upload.put_part(PutPayload::from(next)).await.map_err(failed)?;
                next = part(&mut file).await?;
            }
            upload.complete().await.map_err(failed)
        };
        match written.await {
            Ok(_) => Ok(()),
            Err(error) => {
                // What cannot be taken back now goes by its age.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// A size of a file, or those of its bytes; none where it is not there.
    pub async fn get(&self, name: &str, size: Size, range: Option<Range<u64>>) -> Result<Option<Kept>> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        match self.store.get_opts(&place(name, size)?, options).await {
            Ok(found) => {
                let (length, range) = (found.meta.size, found.range.clone());
                Ok(Some(Kept { length, range, bytes: found.into_stream().map_err(failed).boxed() }))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// How long a size of a file is; none where it is not there.
    pub async fn length(&self, name: &str, size: Size) -> Result<Option<u64>> {
        match self.store.head(&place(name, size)?).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    /// Removes all sizes of a file, as far as they are there.
    pub async fn remove(&self, name: &str) -> Result<()> {
        for size in Size::ALL {
            match self.store.delete(&place(name, size)?).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(cause) => return Err(failed(cause)),
            }
        }
        Ok(())
    }

    /// The names of all that is there, each as often as it has sizes, with when it was put there.
    pub(super) fn names(&self) -> BoxStream<'static, Result<(String, Micros)>> {
        let named = |found: object_store::ObjectMeta| async move {
            let comes = found.location.as_ref().starts_with(&format!("{INCOMING}/"));
            let name = found.location.filename().filter(|_| !comes).and_then(|name| name.rsplit_once('.'));
            Ok(name.map(|(name, _)| name.to_owned()).map(|name| (name, found.last_modified.timestamp_micros())))
        };
        self.store.list(None).map_err(failed).try_filter_map(named).boxed()
    }

    /// Removes from a directory what a process left behind that ended while it wrote. A bucket sees to that by a rule
    /// of its own.
    pub(super) async fn sweep(&self, age: Duration) -> std::io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut folders = tokio::fs::read_dir(folder).await?;
        while let Some(folder) = folders.next_entry().await? {
            let Ok(mut files) = tokio::fs::read_dir(folder.path()).await else { continue };
            while let Some(file) = files.next_entry().await? {
                let unfinished = file.file_name().to_string_lossy().contains('#');
                if unfinished && untouched(&file.path(), age).await {
                    let _ = tokio::fs::remove_file(file.path()).await;
                }
            }
        }
        Ok(())
    }
}

/// `s3://key:secret@bucket/folder?region=…&endpoint=…`; without a key, by the role of the machine.
fn in_bucket(url: &Url) -> std::result::Result<Arc<dyn ObjectStore>, String> {
    // Fails where somebody has chosen one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bucket = url.host_str().filter(|name| !name.is_empty()).ok_or("it names no bucket")?;
    // A file may take as long as its reader does, so only silence ends it.
    let options = ClientOptions::new().with_timeout_disabled().with_read_timeout(SILENT);
    let (max_retries, retry_timeout) = AGAIN;
    let retry = RetryConfig { max_retries, retry_timeout, backoff: BackoffConfig::default() };
    let mut builder = AmazonS3Builder::new().with_client_options(options).with_retry(retry);
    builder = builder.with_bucket_name(bucket).with_region("us-east-1");
    if let Some(secret) = url.password() {
        let decoded = |part| percent_decode_str(part).decode_utf8().map_err(|_| "the key is not UTF-8".to_owned());
        builder = builder.with_access_key_id(decoded(url.username())?).with_secret_access_key(decoded(secret)?);
    }
    for (name, value) in url.query_pairs() {
        builder = match &*name {
            "region" => builder.with_region(value),
            "endpoint" => builder.with_allow_http(value.starts_with("http://")).with_endpoint(value),
            "virtual_hosted" => builder.with_config(AmazonS3ConfigKey::VirtualHostedStyleRequest, value),
            _ => return Err(format!("it may have region, endpoint and virtual_hosted, and not {name}")),
        };
    }
    let store = builder.build().map_err(|cause| cause.to_string())?;
    let prefix = Path::from_url_path(url.path()).map_err(|cause| cause.to_string())?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

/// The next bytes of a file, as many as are copied at once unless it ends before.
async fn part(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PART);
    file.take(PART as u64).read_to_end(&mut bytes).await.map_err(cannot_read)?;
    Ok(bytes)
}

fn failed(cause: object_store::Error) -> Error {
    let mut inner: Option<&(dyn std::error::Error + 'static)> = Some(&cause);
    while let Some(error) = inner {
        let full = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(full, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return Error::new(ErrorCode::Busy, sentence!("disk-full"));
        }
        inner = error.source();
    }
    match cause {
        // A directory does not say so; a bucket that does not answer, or says that it cannot, may be well again soon.
        object_store::Error::Generic { store: "S3", .. } => {
            tracing::warn!(%cause, "the bucket of the files does not do what it was asked");
            Error::busy()
        }
        cause => Error::internal(cause),
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelf").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("length", &self.length).field("range", &self.range).finish_non_exhaustive()
    }
}
