//! The pixels of a decoded picture, and how they are seen: turned as a camera said, without being copied.

use image::metadata::Orientation;
use image::{GenericImageView, Rgb};

/// A picture in memory: rows of pixels of one to four bytes each (grey, grey and opacity, colours, colours and
/// opacity).
pub(super) struct Pixels {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) channels: usize,
    pub(super) bytes: Vec<u8>,
}

impl Pixels {
    /// Whether anything shines through.
    pub(super) fn is_transparent(&self) -> bool {
        let opacity = |pixel: &[u8]| pixel.last().copied().unwrap_or(u8::MAX);
        self.channels.is_multiple_of(2) && self.bytes.chunks_exact(self.channels).any(|pixel| opacity(pixel) < u8::MAX)
    }

    /// Seen as it lies in memory.
    pub(super) fn straight(&self) -> Seen<'_> {
        Seen { pixels: self, turned: Orientation::NoTransforms }
    }
}

/// A picture as it is seen after it was turned.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) pixels: &'a Pixels,
    pub(super) turned: Orientation,
}

impl Seen<'_> {
    pub(super) fn size(&self) -> (u32, u32) {
        turned_size(self.turned, self.pixels.width, self.pixels.height)
    }

    /// Red, green, blue and opacity at a place.
    pub(super) fn at(&self, x: u32, y: u32) -> [u8; 4] {
        let (right, bottom) = (self.pixels.width - 1, self.pixels.height - 1);
        // Where the pixel lies that is seen here.
        let (x, y) = match self.turned {
            Orientation::NoTransforms => (x, y),
            Orientation::FlipHorizontal => (right - x, y),
            Orientation::Rotate180 => (right - x, bottom - y),
            Orientation::FlipVertical => (x, bottom - y),
            Orientation::Rotate90FlipH => (y, x),
            Orientation::Rotate90 => (y, bottom - x),
            Orientation::Rotate270FlipH => (right - y, bottom - x),
            Orientation::Rotate270 => (right - y, x),
        };
        let begin = (y as usize * self.pixels.width as usize + x as usize) * self.pixels.channels;
        match self.pixels.bytes[begin..begin + self.pixels.channels] {
            [grey] => [grey, grey, grey, u8::MAX],
            [grey, opacity] => [grey, grey, grey, opacity],
            [red, green, blue] => [red, green, blue, u8::MAX],
            [red, green, blue, opacity, ..] => [red, green, blue, opacity],
            [] => [0; 4],
        }
    }
}

/// How large a picture is after it was turned.
pub(super) fn turned_size(turned: Orientation, width: u32, height: u32) -> (u32, u32) {
    match turned {
        Orientation::NoTransforms
        | Orientation::FlipHorizontal
        | Orientation::Rotate180
        | Orientation::FlipVertical => (width, height),
        Orientation::Rotate90FlipH | Orientation::Rotate90 | Orientation::Rotate270FlipH | Orientation::Rotate270 => {
            (height, width)
        }
    }
}

/// Without opacity.
pub(super) struct Opaque<'a>(pub(super) Seen<'a>);

impl GenericImageView for Opaque<'_> {
    type Pixel = Rgb<u8>;

    fn dimensions(&self) -> (u32, u32) {
        self.0.size()
    }

    fn get_pixel(&self, x: u32, y: u32) -> Rgb<u8> {
        let [red, green, blue, _] = self.0.at(x, y);
        Rgb([red, green, blue])
    }
}
