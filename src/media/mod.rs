//! Pictures, voice notes and files, as bytes: what comes in and what is kept of it. Who sent it and who may see it is
//! not known here.
//!
//! The way of an upload: it lies whole in a file of its own, of unknown content. The [`gate`] looks at its first bytes,
//! whatever the client said. A picture is judged by its [`header`] before anything of it is decoded, waits until there
//! is memory for its pixels, is decoded and written anew ([`picture`], [`animation`]) in the sizes that are kept; its
//! own bytes are never kept. A voice note ([`voice`]) and anything else is kept as it is, under a type that no browser
//! runs.

pub mod collect;
pub mod gate;
pub mod links;
pub mod shelf;
pub mod spool;

mod animation;
mod codecs;
mod colours;
mod header;
mod picture;
mod pixels;
pub mod types;
mod voice;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify};

use crate::catalogue::Sentence;
use crate::config::Config;
use crate::error::Error;
use crate::pool::{Manner, Pool};
use crate::sentence;

use types::{GIF, JPEG, MP4, OGG, PNG};

pub use gate::Gate;
pub use links::Links;
pub use shelf::Shelf;
pub use spool::Spool;

/// Parts of uploads that may wait for their writer. An upload has one at a time.
const PARTS: usize = 1024;

/// All that has to do with bytes, as the server has it.
#[derive(Debug)]
pub struct Media {
    /// What comes in.
    pub gate: Gate,
    /// Where it lies while it comes.
    pub spool: Spool,
    /// Where it is kept.
    pub shelf: Shelf,
    /// Where clients fetch it.
    pub links: Links,
    /// Held by the upload whose row is written now: so a message waits for one of them at most.
    pub turn: Mutex<()>,
    bell: Notify,
}

impl Media {
    /// Puts the parts together. The keys are for URLs, and nothing else: the first signs, all are good.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(config: &Config, keys: &[String]) -> Result<Media, String> {
        // One has work for more than the share of the disk that uploads may have.
        let writers = Arc::new(Pool::start(Manner {
            name: "duet-upload",
            threads: 1,
            queue: PARTS,
            gives_way: true,
            share: config.upload_disk_share,
        })?);
        let shelf = Shelf::open(config, Arc::clone(&writers))?;
        let (incoming, lasts) = shelf.incoming();
        Ok(Media {
            gate: Gate::open(Limits::new(config, config.upload_max), config.image_decoders)?,
            spool: Spool::open(incoming, lasts, writers)?,
            shelf,
            links: Links::new(keys, config.link_s),
            turn: Mutex::new(()),
            bell: Notify::new(),
        })
    }

    /// Something is over: its bytes need not wait for the next round.
    pub fn collect_soon(&self) {
        self.bell.notify_one();
    }

    /// Waits for that.
    pub async fn over(&self) {
        self.bell.notified().await;
    }
}

/// What may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of an upload, and of each size that is kept of it.
    pub bytes: u64,
    /// Longest side of a picture, in pixels.
    pub side: u32,
    /// Most pixels of a picture. All pictures at work at once have memory for four times as many bytes.
    pub pixels: u64,
    /// Most frames of an animation.
    pub frames: u32,
    /// Most pixels of all frames of an animation together.
    pub animation: u64,
}

impl Limits {
    /// Those of the settings; `bytes` is the most that an upload may have.
    pub fn new(config: &Config, bytes: u64) -> Limits {
        Limits {
            bytes,
            side: config.image_side_max,
            pixels: config.image_pixels_max,
            frames: config.image_frames_max,
            animation: config.image_animation_max,
        }
    }

    /// Memory for the pixels of all pictures at work at once, in bytes.
    fn memory(&self) -> u64 {
        self.pixels.saturating_mul(4)
    }
}

/// What the upload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A picture and nothing else, as for a profile.
    Image,
    /// A picture, a voice note or any file, as with a message.
    Anything,
}

/// What an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A picture, written anew.
    Image,
    /// A voice note, as it came.
    Voice,
    /// Anything else, as it came.
    File,
}

/// A size in which a file is kept; only pictures have more than the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Size {
    /// All of it.
    Whole,
    /// A picture of at most 1024 pixels on each side.
    Medium,
    /// A picture of at most 256 pixels on each side.
    Small,
}

impl Size {
    /// The longest side of a picture in this size, where it has a limit.
    pub fn side(self) -> Option<u32> {
        match self {
            Size::Whole => None,
            Size::Medium => Some(1024),
            Size::Small => Some(256),
        }
    }

    /// Whether this size is kept of a picture: not if it would be the same as a greater one, which then serves in its
    /// place. An animation has no medium size, so that it moves where it is looked at; its small size stands still.
    pub fn is_kept(self, content_type: &str, width: u32, height: u32) -> bool {
        let shrinks = self.side().is_none_or(|side| width.max(height) > side);
        shrinks && !(self == Size::Medium && content_type == GIF)
    }

    /// The type of this size of a file, from the type of the whole: one that no browser runs, whatever a row may say.
    pub fn content_type(self, of_whole: &str) -> &'static str {
        if self != Size::Whole && of_whole == GIF {
            // One frame of it, which may have transparency.
            return PNG;
        }
        types::served(of_whole)
    }
}

/// One size of a file, ready to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Which size.
    pub size: Size,
    /// Where it lies: in the folder that was given, or, of what is kept as it came, the upload itself.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
}

/// What came through the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it is.
    pub kind: Kind,
    /// The type of the whole; see [`Size::content_type`] for the others.
    pub content_type: &'static str,
    /// Of a picture as it is seen, so after its orientation was applied.
    pub width: Option<u32>,
    /// As [`Taken::width`].
    pub height: Option<u32>,
    /// How long a voice note lasts.
    pub duration_ms: Option<i64>,
    /// A blurred picture in a few characters (BlurHash), to show until the picture is there.
    pub placeholder: Option<String>,
    /// What is to be kept: the whole first, then the smaller sizes that [`Size::is_kept`] names.
    pub sizes: Vec<Stored>,
    /// SHA-256 of the whole, in hexadecimal digits.
    pub hash: String,
}

/// Why something does not come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A picture was wanted, and this is none of the four kinds.
    NotAnImage,
    /// It begins as a picture and cannot be decoded whole.
    Broken,
    /// Too many pixels, or a side too long.
    TooLarge {
        /// The longest side that passes.
        side: u32,
        /// The most pixels that pass in a picture of this kind.
        pixels: u64,
    },
    /// An animation with too many frames.
    TooManyFrames {
        /// How many pass.
        max: u32,
    },
    /// An animation with too many pixels in all its frames.
    TooLong {
        /// How many pass.
        pixels: u64,
    },
    /// The upload, or what is to be kept of it, has too many bytes.
    TooHeavy {
        /// How many pass.
        max: u64,
    },
    /// Not the fault of the upload: it cannot be read, or what is kept of it cannot be written.
    Failed(String),
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::field(
            "file",
            match refused {
                Refused::Failed(cause) => return Error::internal(cause),
                refused => refused.sentence(),
            },
        )
    }
}

impl Refused {
    /// What is said to the person who sent it.
    fn sentence(&self) -> Sentence {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let millions = |number: u64| count(number / 1_000_000);
        match *self {
            Refused::NotAnImage => sentence!("picture-expected"),
            Refused::Broken | Refused::Failed(_) => sentence!("picture-broken"),
            Refused::TooLarge { side, pixels } => {
                sentence!("picture-large", side = i64::from(side), millions = millions(pixels))
            }
            Refused::TooManyFrames { max } => sentence!("animation-frames", max = i64::from(max)),
            Refused::TooLong { pixels } => sentence!("animation-long", millions = millions(pixels)),
            Refused::TooHeavy { max } => sentence!("file-heavy", max = count(max)),
        }
    }
}
