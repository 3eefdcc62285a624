//! Bodies in parts (`multipart/form-data`): fields, and files, which go to the disk as they come.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::{Stream, StreamExt, stream};
use hyper::body::Bytes;
use multer::Multipart;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use warp::Buf;
use warp::http::StatusCode;

use super::answers::{FieldErrors, Refusal};
use super::body::{Body, late, too_large};
use super::form::Field;
use crate::app::App;
use crate::config::{Config, ms};
use crate::error::{Error, Result as Done};
use crate::media::spool::{Bounds, Upload};
use crate::media::{Spool, Wanted};
use crate::model::{Actor, Attachment};
use crate::ops::files::{self, Coming};
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
    upload: Mutex<Option<Upload>>,
    taken: OnceCell<Attachment>,
}

impl Brought {
    /// Takes it in, once: what is done again because another transaction was faster finds it there.
    pub(super) async fn taken(&self, app: &Arc<App>, actor: Actor, wanted: Wanted) -> Done<&Attachment> {
        let take = || async {
            let upload = self.upload.lock().await.take().ok_or_else(Error::busy)?;
            let coming = Coming { name: Some(self.name.clone()), ..Coming::default() };
            files::take(app, actor, coming, upload, wanted).await
        };
        self.taken.get_or_try_init(take).await
    }
}

fn fault(cause: &multer::Error) -> Refusal {
    Refusal::Detail(StatusCode::BAD_REQUEST, sentence!("multipart-fault", why = cause.to_string()))
}

/// Takes a body apart as it comes.
pub(super) async fn take<S, B>(
    (config, spool): (&Config, &Spool),
    media: &str,
    takes: &[Field],
    body: S,
) -> Result<Body, Refusal>
where
    S: Stream<Item = Result<B, warp::Error>> + Send,
    B: Buf + Send,
{
    let mut body = Box::pin(body);
    let mut told = Body { is_form: true, ..Body::default() };
    let idle = ms(config.upload_idle_ms);
    let first = match tokio::time::timeout(idle, body.next()).await.map_err(|_| late())? {
        // Nothing at all is no form that is broken.
        None => return Ok(told),
        Some(first) => first,
    };
    let boundary = multer::parse_boundary(media).map_err(|cause| fault(&cause))?;
    let unread = AtomicUsize::new(0);
    let body = by_turns(stream::iter([first]).chain(body), &unread);
    let mut parts = Multipart::new(body, boundary);
    let reading = async {
        let (mut left, mut left_of_files) = (config.body_max, config.upload_max);
        for _ in 0..PARTS {
            let next = tokio::time::timeout(idle, parts.next_field()).await.map_err(|_| late())?;
            let Some(part) = next.map_err(|cause| fault(&cause))? else { return Ok(()) };
            unread.store(0, Ordering::Relaxed);
            let name = part.name().unwrap_or_default().to_owned();
            let is_wanted = takes.iter().any(|field| field.is_file() && field.name == name);
            match part.file_name().map(str::to_owned) {
                Some(file) if is_wanted => {
                    let bounds = files::bounds(config, Some(left_of_files));
                    let file = brought((bounds, spool), part, file, &unread).await;
                    let file = file.map_err(|error| in_field(&name, error))?;
                    left_of_files -= file.bytes;
                    told.files.push((name, Arc::new(file)));
                }
                // A file that nobody asked for takes no more room than what is none, and is not kept.
                is_file => {
                    let text = text(config.body_max, part, &mut left, &unread).await?;
                    told.values.extend(is_file.is_none().then_some((name, Value::String(text))));
                }
            }
        }
        Err(Refusal::Detail(StatusCode::BAD_REQUEST, sentence!("too-many-parts", max = PARTS)))
    };
    tokio::time::timeout(ms(config.upload_ms), reading).await.map_err(|_| late())??;
    Ok(told)
}

/// A refusal of a file, under the name of its field.
fn in_field(name: &str, error: Error) -> Refusal {
    match error.field {
        Some(_) => FieldErrors::of(name, error.message).into(),
        None => error.into(),
    }
}

/// One piece of a body at a time. The parser takes whatever is ready before it looks at it, which of a fast client is
/// all of the body; and it looks for the end of a part's head without ever giving up.
fn by_turns<'a, S, B>(body: S, unread: &'a AtomicUsize) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'a
where
    S: Stream<Item = Result<B, warp::Error>> + Send + 'a,
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
            let mut part = next?.map_err(std::io::Error::other);
            if let Ok(part) = &part
                && unread.fetch_add(part.remaining(), Ordering::Relaxed) > UNREAD
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
    unread: &AtomicUsize,
) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|cause| fault(&cause))? {
        unread.store(0, Ordering::Relaxed);
        *left = left.checked_sub(piece.len()).ok_or_else(|| too_large(most))?;
        bytes.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn brought(
    (bounds, spool): (Bounds, &Spool),
    part: multer::Field<'_>,
    name: String,
    unread: &AtomicUsize,
) -> Done<Brought> {
    let mut upload = files::spool(spool).await?;
    let pieces = pin!(part.inspect(|_| unread.store(0, Ordering::Relaxed)));
    upload.take(pieces, bounds).await?;
    Ok(Brought { name, bytes: upload.bytes(), upload: Mutex::new(Some(upload)), taken: OnceCell::new() })
}
