//! What comes in: an upload is looked at, judged and made into what is kept.
//!
//! What it is, its first bytes say; the name and the type that the client gave are not asked. What begins as a picture
//! must be one to its end.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::header::{Format, Header};
use super::types::of_sound_or_video;
use super::voice::{self, Voice};
use super::{Kind, Limits, Refused, Size, Stored, Taken, Wanted, picture};
use crate::pool::{Manner, Pool, Undone};

/// The unit in which the memory for pixels is given out, in bytes.
const UNIT: u64 = 1024;
/// First bytes of an upload that tell what it is.
const FIRST: u64 = 4096;
/// Uploads that may wait for a decoder: more than may come at once.
const WAITING: usize = 4096;

/// The gate with its guards: never more uploads at work, nor more memory for their pixels, than the settings say.
#[derive(Debug)]
pub struct Gate {
    limits: Limits,
    decoders: Pool,
    units: u32,
    memory: Arc<Semaphore>,
}

impl Gate {
    /// A gate at which so many uploads are at work at once.
    ///
    /// # Errors
    /// A sentence: the system gives no threads.
    pub fn open(limits: Limits, decoders: usize) -> Result<Gate, String> {
        // They are asked for as u32, and tokio counts no further than this.
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = u32::try_from(limits.memory() / UNIT).unwrap_or(u32::MAX).clamp(1, most);
        let memory = Arc::new(Semaphore::new(units as usize));
        let manner = Manner { name: "duet-decoder", threads: decoders, queue: WAITING, gives_way: true, share: 100 };
        Ok(Gate { limits, decoders: Pool::start(manner)?, units, memory })
    }

    /// Takes an upload in, as [`take`] does, on a thread of the gate. A picture waits for the memory that its header
    /// shows it to need, and holds it until the work is over, even if this future is dropped meanwhile. A decoder that
    /// panics refuses the upload.
    ///
    /// # Errors
    /// Why it does not come in.
    pub async fn take(&self, upload: PathBuf, into: PathBuf, wanted: Wanted) -> Result<Taken, Refused> {
        let limits = self.limits;
        let (found, upload) = self.work(move || look(&upload, wanted, &limits).map(|found| (found, upload))).await?;
        let units = match &found {
            // The last unit of all may be a part of one.
            Found::Picture(header) => u32::try_from(header.memory.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units),
            Found::Voice(_) | Found::Other(_) => 0,
        };
        let memory = Arc::clone(&self.memory).acquire_many_owned(units).await;
        let memory = memory.map_err(|_| Refused::Failed("the gate is closed".to_owned()))?;
        self.work(move || {
            let _held = memory;
            make(&upload, &into, &found, &limits)
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Refused> {
        self.decoders.run(job).await.unwrap_or_else(|undone| match undone {
            Undone::Panicked => {
                tracing::warn!("a decoder panicked; its upload was refused");
                Err(Refused::Broken)
            }
            Undone::Full => Err(Refused::Failed("too many uploads wait at the gate".to_owned())),
        })
    }
}

/// Takes an upload in: says what it is, and puts what is to be kept of a picture into the folder `into`. What is kept
/// as it came stays where it lies. Blocks for as long as the work takes. The folder is the caller's: after a refusal,
/// there may be files in it that mean nothing.
///
/// # Errors
/// Why it does not come in.
pub fn take(upload: &Path, into: &Path, wanted: Wanted, limits: &Limits) -> Result<Taken, Refused> {
    make(upload, into, &look(upload, wanted, limits)?, limits)
}

/// What an upload was found to be.
enum Found {
    Picture(Header),
    Voice(Voice),
    /// Anything else, of this type.
    Other(&'static str),
}

/// Looks at an upload and judges it by what it says of itself, before anything of it is decoded.
fn look(upload: &Path, wanted: Wanted, limits: &Limits) -> Result<Found, Refused> {
    let mut file = File::open(upload).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > limits.bytes {
        return Err(Refused::TooHeavy { max: limits.bytes });
    }
    let mut first = Vec::new();
    (&mut file).take(FIRST).read_to_end(&mut first).map_err(failed)?;
    file.rewind().map_err(failed)?;
    let file = BufReader::new(file);
    if let Some(format) = Format::of(&first) {
        let header = Header::read(format, file, bytes)?;
        header.judge(limits)?;
        return Ok(Found::Picture(header));
    }
    match (wanted, voice::look(&first, file, bytes)) {
        (Wanted::Image, _) => Err(Refused::NotAnImage),
        (Wanted::Anything, Some(voice)) => Ok(Found::Voice(voice)),
        (Wanted::Anything, None) => Ok(Found::Other(of_sound_or_video(&first))),
    }
}

fn make(upload: &Path, into: &Path, found: &Found, limits: &Limits) -> Result<Taken, Refused> {
    let (kind, content_type, duration_ms) = match found {
        Found::Picture(header) => return picture::make(upload, into, header, limits),
        Found::Voice(voice) => (Kind::Voice, voice.content_type, Some(voice.duration_ms)),
        Found::Other(content_type) => (Kind::File, *content_type, None),
    };
    let mut digest = Sha256::new();
    let mut file = File::open(upload).map_err(failed)?;
    let mut part = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut part).map_err(failed)?;
        if read == 0 {
            break;
        }
        digest.update(&part[..read]);
        bytes += read as u64;
    }
    Ok(Taken {
        kind,
        content_type,
        width: None,
        height: None,
        duration_ms,
        placeholder: None,
        sizes: vec![Stored { size: Size::Whole, path: upload.to_owned(), bytes }],
        hash: HEXLOWER.encode(&digest.finalize()),
    })
}

/// Reading an upload, or writing what is kept of it, failed.
pub(super) fn failed(cause: io::Error) -> Refused {
    Refused::Failed(cause.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_decoder_that_panics_refuses_its_upload() {
        let limits = Limits { bytes: 1, side: 1, pixels: 255, frames: 1, animation: 1 };
        let gate = Gate::open(limits, 1).expect("a gate");
        assert_eq!(gate.work::<()>(|| panic!("index out of bounds")).await, Err(Refused::Broken));
        assert_eq!(gate.work(|| Ok(1)).await, Ok(1));
    }

    #[test]
    fn no_picture_asks_for_more_memory_than_there_is() {
        let limits = Limits { bytes: 1, side: 1, pixels: 255, frames: 1, animation: 1 };
        // Less than a unit.
        assert_eq!(Gate::open(limits, 0).expect("a gate").units, 1);
        let gate = Gate::open(Limits { pixels: u64::MAX, ..limits }, 1).expect("a gate");
        assert_eq!(gate.units as usize, gate.memory.available_permits());
    }
}
