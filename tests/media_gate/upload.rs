//! An upload at the gate, and what came of it.

use std::path::{Path, PathBuf};

use duet::media::{Limits, Refused, Size, Taken, Wanted, gate};
use image::RgbaImage;
use tempfile::TempDir;

/// The limits of the defaults.
pub(crate) fn limits() -> Limits {
    Limits::new(&duet::config::Config::default(), 25 * 1024 * 1024)
}

/// A file on the disk, and a folder for what is kept of it.
pub(crate) struct Upload {
    folder: TempDir,
}

/// What is kept of an upload.
pub(crate) struct Kept {
    pub(crate) taken: Taken,
    _folder: TempDir,
}

impl Upload {
    pub(crate) fn of(bytes: &[u8]) -> Upload {
        let upload = Upload { folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(upload.path(), bytes).expect("it is written");
        std::fs::create_dir(upload.kept()).expect("a folder");
        upload
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("upload")
    }

    pub(crate) fn kept(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    pub(crate) fn take(self, wanted: Wanted, limits: &Limits) -> Result<Kept, Refused> {
        let taken = gate::take(&self.path(), &self.kept(), wanted, limits)?;
        Ok(Kept { taken, _folder: self.folder })
    }
}

/// Takes a picture under the usual limits.
pub(crate) fn picture(bytes: &[u8]) -> Result<Kept, Refused> {
    Upload::of(bytes).take(Wanted::Image, &limits())
}

/// Takes anything under the usual limits.
pub(crate) fn anything(bytes: &[u8]) -> Result<Kept, Refused> {
    Upload::of(bytes).take(Wanted::Anything, &limits())
}

/// Why a picture is refused.
#[track_caller]
pub(crate) fn refusal(bytes: &[u8]) -> Refused {
    match picture(bytes) {
        Err(refused) => refused,
        Ok(kept) => panic!("it was taken: {:?}", kept.taken),
    }
}

impl Kept {
    pub(crate) fn sizes(&self) -> Vec<Size> {
        self.taken.sizes.iter().map(|stored| stored.size).collect()
    }

    pub(crate) fn bytes(&self, size: Size) -> Vec<u8> {
        let stored = self.taken.sizes.iter().find(|stored| stored.size == size).expect("this size is kept");
        let bytes = std::fs::read(&stored.path).expect("it can be read");
        assert_eq!(bytes.len() as u64, stored.bytes);
        bytes
    }

    /// The pixels of a size, or of its first frame.
    pub(crate) fn pixels(&self, size: Size) -> RgbaImage {
        decoded(&self.bytes(size), size.content_type(self.taken.content_type))
    }

    /// Whether these bytes are anywhere in what is kept.
    pub(crate) fn tells(&self, secret: &[u8]) -> bool {
        self.taken.sizes.iter().any(|stored| holds(&stored.path, secret))
    }
}

fn holds(path: &Path, secret: &[u8]) -> bool {
    let bytes = std::fs::read(path).expect("it can be read");
    bytes.windows(secret.len()).any(|part| part == secret)
}

fn decoded(bytes: &[u8], content_type: &str) -> RgbaImage {
    match content_type {
        "image/jpeg" => {
            let decoded = image::load_from_memory_with_format(bytes, image::ImageFormat::Jpeg).expect("a JPEG");
            decoded.to_rgba8()
        }
        "image/png" => {
            let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
            let (width, height) = reader.info().size();
            let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
            reader.next_frame(&mut pixels).expect("pixels");
            RgbaImage::from_raw(width, height, pixels).expect("with opacity")
        }
        "image/gif" => frames(bytes).swap_remove(0),
        other => panic!("{other}"),
    }
}

/// All frames of a GIF, as they are seen one after another if none replaces the one before.
pub(crate) fn frames(bytes: &[u8]) -> Vec<RgbaImage> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).expect("a GIF");
    let mut canvas = RgbaImage::new(u32::from(decoder.width()), u32::from(decoder.height()));
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().expect("a frame") {
        let (width, height) = (u32::from(frame.width), u32::from(frame.height));
        let part = RgbaImage::from_raw(width, height, frame.buffer.to_vec()).expect("its pixels");
        image::imageops::overlay(&mut canvas, &part, i64::from(frame.left), i64::from(frame.top));
        frames.push(canvas.clone());
    }
    frames
}
