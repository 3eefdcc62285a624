//! Bodies in parts (`multipart/form-data`): fields, and files, which go to the disk as they come.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use futures_util::{Stream, StreamExt, stream};
use hyper::body::Bytes;
use multer::Multipart;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use warp::Buf;
use warp::http::StatusCode;

use super::answers::{FieldErrors, Refusal};
use super::body::{Body, late, too_large};
use super::form::Field;
use crate::app::App;
use crate::config::{Config, ms};
use crate::error::{Error, Result as Done};
use crate::http::disposition::{self, Disposition};
use crate::limits::{Limits, Patience, Place};
use crate::media::spool::{Bounds, Upload};
use crate::media::{Media, Wanted};
use crate::model::{Actor, Attachment};
use crate::ops::files;
use crate::sentence;

/// Most bytes that may come without a part, or a piece of one, being told apart: heads of parts have no end of their own.
const UNREAD: usize = 256 << 10;
/// Most parts of a body.
const PARTS: usize = 1000;

/// A file that came with a form.
#[derive(Debug)]
pub(super) struct Brought {
    name: String,
    /// How long it is.
    pub(super) bytes: u64,
    upload: Mutex<Option<(Upload, Arc<Place>)>>,
    taken: OnceCell<Attachment>,
}

impl Brought {
    /// Takes it in, once: what is done again because another transaction was faster finds it there.
    pub(super) async fn taken(&self, app: &Arc<App>, actor: Actor, wanted: Wanted) -> Done<&Attachment> {
        let take = || async {
            let upload = self.upload.lock().await.take().ok_or_else(Error::busy)?;
            files::take(app, actor, &self.name, upload, wanted).await
        };
        self.taken.get_or_try_init(take).await
    }
}

/// Who sends a body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender<'a> {
    pub(super) config: &'a Config,
    pub(super) media: &'a Media,
    pub(super) limits: &'a Limits,
    pub(super) actor: Option<Actor>,
    pub(super) address: IpAddr,
}

/// A body on its way. It keeps the pace of an upload, whatever is in it.
struct Arriving<'a> {
    sender: Sender<'a>,
    /// Bytes that came without a part, or a piece of one, being told apart.
    unread: AtomicUsize,
    /// The place of its files, from the first one on.
    place: OnceLock<Arc<Place>>,
    /// Why no more of it is read.
    over: OnceLock<Error>,
}

impl<'a> Arriving<'a> {
    fn new(sender: Sender<'a>) -> Arriving<'a> {
        Arriving { sender, unread: AtomicUsize::new(0), place: OnceLock::new(), over: OnceLock::new() }
    }

    fn place(&self) -> Done<Arc<Place>> {
        if let Some(place) = self.place.get() {
            return Ok(Arc::clone(place));
        }
        let Sender { limits, actor, address, .. } = self.sender;
        let actor = actor.ok_or_else(|| Error::internal("a file of nobody"))?;
        let place = limits.upload(actor.user, address).ok_or_else(Error::busy)?;
        Ok(Arc::clone(self.place.get_or_init(|| Arc::new(place))))
    }

    /// Waits until a file of this body has to give way.
    async fn must_end(&self) {
        match self.place.get() {
            Some(place) => place.must_end().await,
            None => std::future::pending().await,
        }
    }

    fn told_apart(&self) {
        self.unread.store(0, Ordering::Relaxed);
    }
}

fn fault(cause: &multer::Error) -> Refusal {
    Refusal::Detail(StatusCode::BAD_REQUEST, sentence!("multipart-fault", why = cause.to_string()))
}

/// Takes a body apart as it comes.
pub(super) async fn take<S, B>(sender: Sender<'_>, media: &str, takes: &[Field], body: S) -> Result<Body, Refusal>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf + Send,
{
    let mut body = Box::pin(body);
    let mut told = Body { is_form: true, ..Body::default() };
    let config = sender.config;
    let idle = ms(config.upload_idle_ms);
    let first = match tokio::time::timeout(idle, body.next()).await.map_err(|_| late())? {
        // Nothing at all is no form that is broken.
        None => return Ok(told),
        Some(first) => first,
    };
    let boundary = multer::parse_boundary(media).map_err(|cause| fault(&cause))?;
    let arriving = Arriving::new(sender);
    let body = by_turns(paced(stream::iter([first]).chain(body), &arriving), &arriving);
    let mut parts = Multipart::new(body, boundary);
    let reading = async {
        let (mut left, mut left_of_files) = (config.body_max, config.upload_max);
        for _ in 0..PARTS {
            let next = tokio::time::timeout(idle, parts.next_field()).await.map_err(|_| late())?;
            let Some(part) = next.map_err(|cause| fault(&cause))? else { return Ok(()) };
            arriving.told_apart();
            let Disposition { name, file_name } = disposition::of(part.headers());
            let name = name.unwrap_or_default();
            let is_wanted = takes.iter().any(|field| field.is_file() && field.name == name);
            match file_name {
                Some(file) if is_wanted => {
                    let bounds = files::bounds(config, Some(left_of_files));
                    let file = brought(bounds, part, file, &arriving).await;
                    let file = file.map_err(|error| in_field(&name, error))?;
                    left_of_files -= file.bytes;
                    told.files.push((name, Arc::new(file)));
                }
                // A file that nobody asked for takes no more room than what is none, and is not kept.
                is_file => {
                    let text = text(config.body_max, part, &mut left, &arriving).await?;
                    told.values.extend(is_file.is_none().then_some((name, Value::String(text))));
                }
            }
        }
        Err(Refusal::Detail(StatusCode::BAD_REQUEST, sentence!("too-many-parts", max = PARTS)))
    };
    let read = tokio::time::timeout(ms(config.upload_ms), reading).await.map_err(|_| late())?;
    match (read, arriving.over.get()) {
        (Ok(()), _) => Ok(told),
        (Err(_), Some(error)) if error.message.name() == "body-late" => Err(late()),
        (Err(_), Some(error)) => Err(error.clone().into()),
        (Err(refusal), None) => Err(refusal),
    }
}

/// A body as long as it keeps the pace, and does not have to give way.
fn paced<'a, S, B>(body: S, arriving: &'a Arriving<'_>) -> impl Stream<Item = std::io::Result<B>> + Send + 'a
where
    S: Stream<Item = Result<B, warp::Error>> + Send + 'a,
    B: Buf + Send + 'a,
{
    let config = arriving.sender.config;
    let patience = Patience::new(ms(config.upload_idle_ms), config.upload_bytes_per_s);
    stream::unfold((Box::pin(body), patience), async move |(mut body, mut patience)| {
        let begun = Instant::now();
        let next = tokio::select! {
            next = tokio::time::timeout(patience.left(), body.next()) => next,
            () = arriving.must_end() => {
                let _ = arriving.over.set(Error::busy());
                return Some((Err(broken()), (body, patience)));
            }
        };
        let Ok(next) = next else {
            // Only the first reason is told.
            let _ = arriving.over.set(Error::field("file", sentence!("body-late")));
            return Some((Err(broken()), (body, patience)));
        };
        let part = next?.map_err(std::io::Error::other);
        if let Ok(part) = &part {
            patience.came(part.remaining() as u64, begun.elapsed());
        }
        Some((part, (body, patience)))
    })
}

/// A refusal of a file, under the name of its field.
fn in_field(name: &str, error: Error) -> Refusal {
    match error.field {
        // It is not the file that is at fault.
        Some(_) if error.message.name() == "body-late" => late(),
        Some(_) => FieldErrors::of(name, error.message).into(),
        None => error.into(),
    }
}

/// One piece of a body at a time. The parser takes whatever is ready before it looks at it, which of a fast client is
/// all of the body; and it looks for the end of a part's head without ever giving up.
fn by_turns<'a, S, B>(body: S, arriving: &'a Arriving<'_>) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'a
where
    S: Stream<Item = std::io::Result<B>> + Send + 'a,
    B: Buf + Send,
{
    let mut body = Box::pin(body);
    let mut given = false;
    stream::poll_fn(move |context| {
        if std::mem::take(&mut given) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        body.as_mut().poll_next(context).map(|next| {
            given = true;
            let mut part = next?;
            if let Ok(part) = &part
                && arriving.unread.fetch_add(part.remaining(), Ordering::Relaxed) > UNREAD
            {
                return Some(Err(std::io::Error::other("the head of a part does not end")));
            }
            Some(part.as_mut().map(|part| part.copy_to_bytes(part.remaining())).map_err(|_| broken()))
        })
    })
}

fn broken() -> std::io::Error {
    std::io::Error::other("it broke off")
}

/// A field; all fields together take no more than is left.
async fn text(
    most: usize,
    mut part: multer::Field<'_>,
    left: &mut usize,
    arriving: &Arriving<'_>,
) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|cause| fault(&cause))? {
        arriving.told_apart();
        *left = left.checked_sub(piece.len()).ok_or_else(|| too_large(most))?;
        bytes.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn brought(bounds: Bounds, part: multer::Field<'_>, name: String, arriving: &Arriving<'_>) -> Done<Brought> {
    let place = arriving.place()?;
    let mut upload = files::spool(&arriving.sender.media.spool).await?;
    let pieces = pin!(part.inspect(|_| arriving.told_apart()));
    upload.take(pieces, bounds, &place).await?;
    let (bytes, taken) = (upload.bytes(), OnceCell::new());
    Ok(Brought { name, bytes, upload: Mutex::new(Some((upload, place))), taken })
}
