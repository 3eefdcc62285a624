//! Pictures, voice notes and other files: taking an upload in, using it, fetching it.
//!
//! An upload has a row before its first byte is kept and until its last one is away; see `store/files.rs`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use crate::app::App;
use crate::config::{Config, ms};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::Place;
use crate::media::links::Link;
use crate::media::shelf::Kept;
use crate::media::spool::{Bounds, Spool, Upload, too_heavy};
use crate::media::types;
use crate::media::{Kind, Size, Taken, Wanted};
use crate::model::{Actor, Attachment, FileId, FileKind, Micros, Text, UserId};
use crate::planted;
use crate::protocol::commands::MediaLinks;
use crate::protocol::replies::{FileLink, Links};
use crate::sentence;
use crate::store::files::{self, NewFile, Ready};
use crate::store::{Conn, Purpose, accounts, retried};
use crate::text;

/// Longest name that a file keeps, in characters.
const FILE_NAME_MAX: usize = 150;
/// How often it is said in all that a file is there, while the database is busy.
const DECLARED: u32 = 5;
/// The pause after the first time; it grows with each.
const PAUSE: Duration = Duration::from_millis(200);
/// Microseconds in a second.
const SECOND: Micros = 1_000_000;

/// An upload as its sender announces it.
#[derive(Debug, Clone)]
pub struct Coming {
    /// The sender's own name for it: a repeat with the same key is the same file.
    pub client_key: Option<Text>,
    /// What the sender calls the file.
    pub name: Option<String>,
    /// How long it is, if that is known.
    pub bytes: Option<u64>,
}

/// What became of an announced upload.
#[derive(Debug)]
pub enum Begun {
    /// It came before.
    There(Attachment),
    /// It may come now.
    Now(Ticket),
}

/// A place for an upload. Its row is given up with it, unless it is finished.
#[derive(Debug)]
pub struct Ticket {
    app: Arc<App>,
    owner: UserId,
    file: FileId,
    name: Text,
    finished: bool,
    place: Arc<Place>,
}

impl Ticket {
    /// What the upload must watch while it comes.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

/// From where an upload has its place.
#[derive(Debug)]
pub enum Seat {
    /// It has one.
    Held(Arc<Place>),
    /// It takes one, for a client at this address.
    At(IpAddr),
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let (app, file) = (Arc::clone(&self.app), self.file);
        tokio::spawn(async move {
            let _turn = turn(&app).await;
            let given_up = retried(|| async {
                let mut tx = app.store.begin(Purpose::Server).await?;
                files::give_up(&mut tx, file).await?;
                app.commit(tx, Vec::new()).await
            });
            // Where the database does not answer it goes by its age.
            if given_up.await.is_ok() {
                app.media.collect_soon();
            }
        });
    }
}

/// Judges an upload before any of it is read: the limits, and what its sender has already.
pub async fn begin(app: &Arc<App>, actor: Actor, seat: Seat, coming: &Coming) -> Result<Begun> {
    let Coming { client_key, name, bytes } = coming;
    if let Some(key) = client_key {
        super::messages::client_key(app, key)?;
    }
    let most = app.config.upload_max;
    if bytes.is_some_and(|bytes| bytes > most) {
        return Err(too_heavy(most));
    }
    if let Some(key) = client_key
        && let Some(there) = files::under_key(&mut app.store.read(actor.user).await?, actor.user, key).await?
    {
        return Ok(Begun::There(there));
    }
    let place = match seat {
        Seat::Held(place) => place,
        Seat::At(address) => Arc::new(app.limits.upload(actor.user, address).ok_or_else(Error::busy)?),
    };
    let file_name = file_name(name.as_deref().unwrap_or_default());
    let (name, bytes) = (new_name()?, i64::try_from(bytes.unwrap_or(most)).unwrap_or(i64::MAX));
    let turn = turn(app).await?;
    let begun = retried(|| async {
        let mut tx = app.store.begin(actor.user).await?;
        accounts::lock(&mut tx, &[actor.user]).await?;
        if !accounts::is_live(&mut tx, actor.user).await? {
            return Err(Error::not_found("user"));
        }
        if let Some(key) = client_key
            && let Some(there) = files::under_key(&mut tx, actor.user, key).await?
        {
            return Ok(Err(there));
        }
        let client_key = client_key.as_ref();
        let new = NewFile { owner: actor.user, name: &name, client_key, file_name: &file_name, bytes, at: app.now() };
        let file = files::begin(&mut tx, &new).await?;
        within_quota(app, &mut tx, actor.user, file, bytes).await?;
        app.commit(tx, Vec::new()).await?;
        Ok(Ok(file))
    });
    let begun = begun.await;
    drop(turn);
    Ok(match begun? {
        Err(there) => Begun::There(there),
        Ok(file) => {
            let (app, owner) = (Arc::clone(app), actor.user);
            Begun::Now(Ticket { app, owner, file, name, finished: false, place })
        }
    })
}

/// Waits until no other upload writes its row, as long as a query may take.
async fn turn(app: &App) -> Result<MutexGuard<'_, ()>> {
    timeout(ms(app.config.query_ms), app.media.turn.lock()).await.map_err(|_| Error::busy())
}

/// Refuses a file that would be one too many, or too many bytes, beside the others of its owner.
async fn within_quota(app: &App, tx: &mut Conn, owner: UserId, file: FileId, bytes: i64) -> Result<()> {
    let full = |why| Err(Error::new(ErrorCode::LimitReached, why));
    let (config, others) = (&app.config, files::usage(tx, owner, file).await?);
    let over = |most: i64, count: i64| most > 0 && count > most;
    if over(config.files_per_user, others.files + 1) {
        return full(sentence!("files-full", max = config.files_per_user));
    }
    if over(config.file_bytes_per_user, others.bytes.saturating_add(bytes)) {
        return full(sentence!("bytes-full", max = config.file_bytes_per_user));
    }
    if over(config.uploads_per_user, others.coming + 1) {
        return full(sentence!("uploads-full", max = config.uploads_per_user));
    }
    Ok(())
}

/// A place on the disk for what comes.
pub async fn spool(spool: &Spool) -> Result<Upload> {
    spool.begin(&new_name()?).await
}

/// How much an upload may bring, and how long it may take.
pub fn bounds(config: &Config, announced: Option<u64>) -> Bounds {
    let most = config.upload_max;
    let bytes = announced.map_or(most, |bytes| bytes.min(most));
    let (idle, bytes_per_s, whole) = (ms(config.upload_idle_ms), config.upload_bytes_per_s, ms(config.upload_ms));
    Bounds { bytes, idle, bytes_per_s, whole }
}

/// Takes an upload in that lies whole on the disk: from another place than [`begin`] and [`finish`] have it from.
pub async fn take(
    app: &Arc<App>,
    actor: Actor,
    name: &str,
    (upload, place): (Upload, Arc<Place>),
    wanted: Wanted,
) -> Result<Attachment> {
    let coming = Coming { client_key: None, name: Some(name.to_owned()), bytes: Some(upload.bytes()) };
    match begin(app, actor, Seat::Held(place), &coming).await? {
        Begun::There(there) => Ok(there),
        Begun::Now(ticket) => finish(ticket, upload, wanted).await,
    }
}

/// Makes a file of an upload that came whole. Goes on if the sender is gone, who finds it there with the next try.
pub async fn finish(ticket: Ticket, upload: Upload, wanted: Wanted) -> Result<Attachment> {
    if !ticket.place.is_whole() {
        return Err(Error::busy());
    }
    let task = tokio::spawn(keep(ticket, upload, wanted));
    task.await.unwrap_or_else(|_| Err(Error::unknown_outcome()))
}

async fn keep(mut ticket: Ticket, upload: Upload, wanted: Wanted) -> Result<Attachment> {
    let app = Arc::clone(&ticket.app);
    planted::fail_at("upload_came");
    let taken = app.media.gate.take(upload.path(), upload.folder(), wanted).await?;
    for size in &taken.sizes {
        app.media.shelf.put(&ticket.name, size.size, &size.path).await?;
        planted::fail_at("upload_kept_a_size");
    }
    drop(upload);
    planted::fail_at("upload_kept");
    let ready = ready(taken);
    let mut tries = 1;
    let attachment = loop {
        match declare(&ticket, &ready).await {
            // All of it is here; so a database that has much to do is not a reason to have it sent again.
            Err(error) if error.code == ErrorCode::Busy && tries < DECLARED => {
                tokio::time::sleep(PAUSE * tries).await;
                tries += 1;
            }
            declared => break declared?,
        }
    };
    ticket.finished = true;
    planted::fail_at("upload_ready");
    // Begun anew under the same key, or its owner is gone.
    attachment.ok_or_else(Error::busy)
}

/// Says that a file is there; none where it was given up meanwhile.
async fn declare(ticket: &Ticket, ready: &Ready) -> Result<Option<Attachment>> {
    let Ticket { app, owner, file, .. } = ticket;
    let _turn = turn(app).await?;
    retried(|| async {
        let mut tx = app.store.begin(*owner).await?;
        accounts::lock(&mut tx, &[*owner]).await?;
        // What is kept of a picture may be more than what came.
        within_quota(app, &mut tx, *owner, *file, ready.bytes).await?;
        let finished = files::finish(&mut tx, *file, ready, app.now()).await?;
        app.commit(tx, Vec::new()).await?;
        Ok(finished)
    })
    .await
}

/// What is written down of an upload that came through the gate.
pub fn ready(taken: Taken) -> Ready {
    let count = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let of = |size: Size| taken.sizes.iter().find(|stored| stored.size == size).map_or(0, |stored| count(stored.bytes));
    Ready {
        kind: match taken.kind {
            Kind::Image => FileKind::Image,
            Kind::Voice => FileKind::Voice,
            Kind::File => FileKind::File,
        },
        content_type: taken.content_type,
        bytes: taken.sizes.iter().map(|stored| count(stored.bytes)).sum(),
        size: of(Size::Whole),
        hash: taken.hash,
        width: taken.width.map(i64::from),
        height: taken.height.map(i64::from),
        duration_ms: taken.duration_ms,
        placeholder: taken.placeholder,
    }
}

/// A name that nobody can guess: 128 random bits.
pub fn new_name() -> Result<Text> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::internal)?;
    Ok(Text::without_nul(BASE64URL_NOPAD.encode(&bytes)))
}

/// Whether this could be the name of a file.
fn is_name(name: &str) -> bool {
    name.len() == 22 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What is kept of the name that the sender gives a file: its last part, in plain characters.
pub fn file_name(given: &str) -> Text {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String =
        last.chars().filter(|char| text::clean("name", char.encode_utf8(&mut [0; 4]), 1, false).is_ok()).collect();
    let plain: String = plain.trim().trim_start_matches('.').chars().take(FILE_NAME_MAX).collect();
    // A flood of marks is no name.
    text::clean("name", &plain, FILE_NAME_MAX, false).unwrap_or_default()
}

/// Replaces the pictures of a profile, in the transaction that locked its user.
pub(super) async fn set_pictures(app: &App, tx: &mut Conn, user: UserId, names: &[Text]) -> Result<()> {
    let most = app.config.pictures_max;
    if names.len() > most {
        return Err(Error::too_long("pictures", most, "pictures"));
    }
    let wanted: Vec<(UserId, &Text)> = names.iter().map(|name| (user, name)).collect();
    let found = files::claim(tx, &wanted, app.now()).await?;
    let mut pictures: Vec<FileId> = Vec::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        let field = || format!("pictures[{place}]");
        let none = || Error { field: Some(field()), ..Error::not_found("file") };
        let kept = found.iter().find(|kept| kept.attachment.id == *name).ok_or_else(none)?;
        if kept.attachment.kind != FileKind::Image {
            return Err(Error::field(field(), sentence!("pictures-only")));
        }
        if pictures.contains(&kept.file) {
            return Err(Error::field(field(), sentence!("named-twice")));
        }
        pictures.push(kept.file);
    }
    files::set_pictures(tx, user, &pictures).await
}

/// The first pictures of those of some users whose profiles the caller may see.
pub async fn first_pictures(app: &App, actor: Actor, users: &[UserId]) -> Result<HashMap<UserId, Attachment>> {
    files::first_pictures(&mut app.store.read(actor.user).await?, actor.user, users).await
}

/// Where the caller can fetch files, as far as they may see them.
pub async fn links(app: &App, actor: Actor, input: MediaLinks) -> Result<Links> {
    let most = app.config.items_max;
    if input.files.len() > most {
        return Err(Error::too_long("files", most, "files"));
    }
    let names: Vec<&Text> = input.files.iter().filter(|name| is_name(name)).collect();
    let found = files::readable(&mut app.store.read(actor.user).await?, actor.user, &names).await?;
    let (mut links, mut gone) = (Vec::new(), Vec::new());
    for name in input.files {
        match found.iter().find(|kept| kept.attachment.id == name) {
            Some(kept) => links.push(link(app, actor.user, &kept.attachment)?),
            None => gone.push(name.into()),
        }
    }
    Ok(Links { links, gone })
}

/// Where a reader who may see a file can fetch it.
pub fn link(app: &App, reader: UserId, file: &Attachment) -> Result<FileLink> {
    let until = app.media.links.until(app.now());
    let base = app.config.base_url();
    let url = |size: Size| -> Result<String> {
        let called = types::file_name(file.name.as_deref(), size.content_type(&file.content_type));
        let path = app.media.links.path(&Link { name: &file.id, size, reader, until }, &called)?;
        Ok(format!("{base}{path}"))
    };
    let side = |side: Option<i64>| side.and_then(|side| u32::try_from(side).ok());
    let smaller = |size: Size| match (file.kind, side(file.width), side(file.height)) {
        (FileKind::Image, Some(width), Some(height)) if size.is_kept(&file.content_type, width, height) => {
            url(size).map(Some)
        }
        _ => Ok(None),
    };
    Ok(FileLink {
        file: file.id.clone(),
        url: url(Size::Whole)?,
        medium: smaller(Size::Medium)?,
        small: smaller(Size::Small)?,
        expires_at: until.saturating_mul(SECOND),
    })
}

/// A file whose reader may have it now.
#[derive(Debug)]
pub struct Shown {
    /// What it is.
    pub attachment: Attachment,
    /// In which size.
    pub size: Size,
    /// Another one for other bytes.
    pub tag: String,
    /// How long the URL is good yet, in seconds.
    pub left_s: i64,
}

/// Judges a URL, and whether its reader may see the file at this moment. Whatever is wrong looks alike.
pub async fn shown(app: &App, link: &Link<'_>, signature: &str) -> Result<Shown> {
    let none = || Error::not_found("file");
    let now = app.now();
    if !is_name(link.name) || !app.media.links.judge(link, signature, now) {
        return Err(none());
    }
    let found =
        files::readable(&mut app.store.read(link.reader).await?, link.reader, &[&Text::without_nul(link.name)]).await?;
    let kept = found.into_iter().next().ok_or_else(none)?;
    let tag = format!("{}-{}", kept.hash, link.size.name());
    Ok(Shown { attachment: kept.attachment, size: link.size, tag, left_s: link.until - now / SECOND })
}

/// How many bytes there are of it.
pub async fn length(app: &App, shown: &Shown) -> Result<u64> {
    if shown.size == Size::Whole {
        return Ok(u64::try_from(shown.attachment.size).unwrap_or_default());
    }
    let found = app.media.shelf.length(&shown.attachment.id, shown.size).await?;
    found.ok_or_else(|| Error::not_found("file"))
}

/// Its bytes, or some of them.
pub async fn bytes(app: &App, shown: &Shown, range: Option<Range<u64>>) -> Result<Kept> {
    let found = app.media.shelf.get(&shown.attachment.id, shown.size, range).await?;
    // Collected a moment ago, or lost.
    found.ok_or_else(|| Error::not_found("file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s40_of_a_file_name_plain_characters_are_left() {
        for (given, kept) in [
            ("holiday.jpg", "holiday.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\ann\\cv.pdf", "cv.pdf"),
            ("..", ""),
            (".bashrc", "bashrc"),
            ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
            ("gpj.\u{202e}exe", "gpj.exe"),
            (" Crème brûlée.txt ", "Crème brûlée.txt"),
            ("", ""),
        ] {
            assert_eq!(file_name(given), kept, "{given:?}");
        }
        assert_eq!(file_name(&"x".repeat(1000)).len(), FILE_NAME_MAX);
    }
}
