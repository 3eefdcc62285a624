//! What a picture says of itself: its size, its frames, and the memory that it takes to decode it. Read part by part
//! from the beginning to the end of the file, and nothing of it decoded, so that a bomb is refused for what it claims
//! to be. What ends before its last pixel is broken. Where only the mark of the end is missing, which browsers do without,
//! it is put behind it.

use std::io::{BufRead, Seek};

use super::{Limits, Refused};

/// The kinds of pictures that come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    Gif,
    WebP,
}

impl Format {
    /// By the first bytes of a file.
    pub(super) fn of(first: &[u8]) -> Option<Format> {
        match first {
            [0xff, 0xd8, 0xff, ..] => Some(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Format::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::WebP),
            _ => None,
        }
    }
}

/// A picture before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    pub(super) width: u32,
    pub(super) height: u32,
    /// How many pictures follow one another; one stands still.
    pub(super) frames: u32,
    /// The pixels of all frames.
    pub(super) all_pixels: u64,
    /// What it takes to decode it, in bytes; what is made of it, which is small, comes on top.
    pub(super) memory: u64,
    /// Where the picture ends; what follows is none of it.
    pub(super) end: u64,
    /// The mark of its end, where the file lacks it.
    pub(super) lacks: &'static [u8],
}

/// The marks of an end.
const JPEG_END: &[u8] = b"\xff\xd9";
const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
const GIF_END: &[u8] = b";";
/// The same in the middle of a picture's data, after its last block.
const GIF_DATA_END: &[u8] = b"\0;";

impl Header {
    /// Reads a file of this many bytes.
    pub(super) fn read(format: Format, file: impl BufRead + Seek, bytes: u64) -> Result<Header, Refused> {
        let mut walk = Walk { file, at: 0, bytes };
        let header = match format {
            Format::Jpeg => jpeg(&mut walk),
            Format::Png => png(&mut walk),
            Format::Gif => gif(&mut walk),
            Format::WebP => webp(&mut walk),
        };
        header.ok_or(Refused::Broken)
    }

    /// Whether it may be decoded.
    pub(super) fn judge(&self, limits: &Limits) -> Result<(), Refused> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        // Some kinds take more than four bytes for a pixel, so fewer pixels of them fit into the memory.
        let fit = limits.pixels.min(
            u64::try_from(u128::from(limits.memory()) * u128::from(pixels.max(1)) / u128::from(self.memory.max(1)))
                .unwrap_or(u64::MAX),
        );
        if self.width.max(self.height) > limits.side || pixels > limits.pixels || self.memory > limits.memory() {
            return Err(Refused::TooLarge { side: limits.side, pixels: fit });
        }
        if self.frames > limits.frames {
            return Err(Refused::TooManyFrames { max: limits.frames });
        }
        if self.frames > 1 && self.all_pixels > limits.animation {
            return Err(Refused::TooLong { pixels: limits.animation });
        }
        Ok(())
    }
}

/// A walk through a file that never leaves it. Where it ends too early there is none.
struct Walk<F> {
    file: F,
    at: u64,
    bytes: u64,
}

impl<F: BufRead + Seek> Walk<F> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut taken = [0; N];
        self.file.read_exact(&mut taken).ok()?;
        self.at += N as u64;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// Goes on by so many bytes, which must be there.
    fn skip(&mut self, bytes: u64) -> Option<()> {
        if bytes > self.bytes.saturating_sub(self.at) {
            return None;
        }
        self.file.seek_relative(i64::try_from(bytes).ok()?).ok()?;
        self.at += bytes;
        Some(())
    }

    /// How many bytes there are yet.
    fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.at)
    }

    /// Whether nothing follows but the begin of this text.
    fn ends_within(&mut self, text: &[u8]) -> Option<bool> {
        let left = usize::try_from(self.left()).ok()?;
        let Some(begin) = text.get(..left) else { return Some(false) };
        // Less than what is buffered at a time.
        let next = self.file.fill_buf().ok()?;
        Some(next.get(..left)? == begin)
    }

    /// Goes to the next byte `ff` and takes it; none where the file ends before.
    fn skip_to_ff(&mut self) -> Option<()> {
        loop {
            let buffer = self.file.fill_buf().ok()?;
            if buffer.is_empty() {
                return None;
            }
            let found = buffer.iter().position(|byte| *byte == 0xff);
            let used = found.map_or(buffer.len(), |place| place + 1);
            self.file.consume(used);
            self.at += used as u64;
            if found.is_some() {
                return Some(());
            }
        }
    }
}

/// A frame of a JPEG as its header describes it.
struct Scans {
    width: u32,
    height: u32,
    progressive: bool,
    /// How many samples each component has in the width and in the height of a block.
    sampling: Vec<(u64, u64)>,
}

/// Segments up to the end of the picture, and the coded data after each start of a scan.
fn jpeg<F: BufRead + Seek>(walk: &mut Walk<F>) -> Option<Header> {
    walk.skip(2)?;
    let mut frame: Option<Scans> = None;
    let mut first_scan = None;
    let (mut coded, mut end, mut lacks) = (0, None, &b""[..]);
    let mut marker = next_marker(walk)?;
    loop {
        let mut after = None;
        match marker {
            // The end.
            0xd9 => break,
            // Restarts, which belong into the coded data, and a second beginning.
            0x01 | 0xd0..=0xd8 => return None,
            0xc0..=0xc2 if frame.is_none() => frame = Some(start_of_frame(walk, marker == 0xc2)?),
            // Frames of other kinds than those that browsers decode, or a second one.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return None,
            0xda => {
                let length = u64::from(u16::from_be_bytes(walk.take()?));
                let components = walk.byte()?;
                walk.skip(length.checked_sub(3)?)?;
                first_scan.get_or_insert(components);
                let begun = walk.at;
                match marker_after_data(walk) {
                    Ok(marker) => after = Some(marker),
                    Err(place) => {
                        coded += place - begun;
                        (end, lacks) = (Some(place), JPEG_END);
                        break;
                    }
                }
                coded += walk.at - begun;
            }
            _ => {
                let length = u64::from(u16::from_be_bytes(walk.take()?));
                walk.skip(length.checked_sub(2)?)?;
            }
        }
        marker = match after {
            Some(marker) => marker,
            None => next_marker(walk)?,
        };
    }
    let Scans { width, height, progressive, sampling } = frame?;
    let (width, height) = (u64::from(width), u64::from(height));
    let most = |pick: fn(&(u64, u64)) -> u64| sampling.iter().map(pick).max().unwrap_or(1);
    let (across, down) = (most(|(across, _)| *across), most(|(_, down)| *down));
    // Nothing is coded in less than a bit. Each block has its mean, and if not progressive, an end besides.
    let block = |(h, v): &(u64, u64)| (width * h).div_ceil(8 * across) * (height * v).div_ceil(8 * down);
    let bits = sampling.iter().map(block).sum::<u64>() * if progressive { 1 } else { 2 };
    if coded * 8 < bits {
        return None;
    }
    let pixels = width * height;
    // The file too is kept meanwhile, and what it tells besides its pixels once more.
    let mut memory = pixels * if sampling.len() == 1 { 1 } else { 3 } + walk.at + (walk.at - coded);
    // Where not everything of a pixel comes at once, the coefficients of the whole picture are kept until the end, two
    // bytes for each. Blocks are padded at the edges.
    if progressive || usize::from(first_scan?) != sampling.len() {
        let units = width.div_ceil(8 * across) * height.div_ceil(8 * down);
        memory += sampling.iter().map(|(across, down)| units * across * down * 128).sum::<u64>();
    }
    let (width, height) = (width as u32, height as u32);
    let end = end.unwrap_or(walk.at);
    Some(Header { format: Format::Jpeg, width, height, frames: 1, all_pixels: pixels, memory, end, lacks })
}

fn next_marker<F: BufRead + Seek>(walk: &mut Walk<F>) -> Option<u8> {
    if walk.byte()? != 0xff {
        return None;
    }
    loop {
        // It may be filled up with more of the same.
        match walk.byte()? {
            0xff => {}
            0 => return None,
            marker => return Some(marker),
        }
    }
}

/// The marker behind coded data, or where the data ends with the file.
fn marker_after_data<F: BufRead + Seek>(walk: &mut Walk<F>) -> Result<u8, u64> {
    loop {
        walk.skip_to_ff().ok_or(walk.at)?;
        let end = walk.at - 1;
        let mut byte = walk.byte().ok_or(end)?;
        while byte == 0xff {
            byte = walk.byte().ok_or(end)?;
        }
        // A zero says that the `ff` was data; restarts lie within it.
        if !matches!(byte, 0 | 0xd0..=0xd7) {
            return Ok(byte);
        }
    }
}

fn start_of_frame<F: BufRead + Seek>(walk: &mut Walk<F>, progressive: bool) -> Option<Scans> {
    let length = u16::from_be_bytes(walk.take()?);
    let [depth, h1, h0, w1, w0, components] = walk.take()?;
    if depth != 8 || !(1..=4).contains(&components) || length != 8 + 3 * u16::from(components) {
        return None;
    }
    let mut sampling = Vec::new();
    for _ in 0..components {
        let [_, factors, _] = walk.take()?;
        let (across, down) = (u64::from(factors >> 4), u64::from(factors & 15));
        if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
            return None;
        }
        sampling.push((across, down));
    }
    let (width, height) = (u32::from(u16::from_be_bytes([w1, w0])), u32::from(u16::from_be_bytes([h1, h0])));
    (width > 0 && height > 0).then_some(Scans { width, height, progressive, sampling })
}

/// Chunks up to the end of the picture.
fn png<F: BufRead + Seek>(walk: &mut Walk<F>) -> Option<Header> {
    walk.skip(8)?;
    let (mut size, mut colours, mut transparent) = (None, 0, false);
    let (mut told_frames, mut frames, mut data) = (0, 0, false);
    let mut lacks = &b""[..];
    loop {
        if data && walk.left() < PNG_END.len() as u64 && walk.ends_within(PNG_END)? {
            lacks = PNG_END;
            break;
        }
        let length = u64::from(u32::from_be_bytes(walk.take()?));
        let name: [u8; 4] = walk.take()?;
        let begun = walk.at;
        match &name {
            b"IHDR" if size.is_none() => {
                size = Some((u32::from_be_bytes(walk.take()?), u32::from_be_bytes(walk.take()?)));
                let [_, kind] = walk.take()?;
                colours = kind;
            }
            // All others come after the first, and that comes once.
            b"IHDR" => return None,
            _ if size.is_none() => return None,
            b"tRNS" => transparent = true,
            b"acTL" => told_frames = u32::from_be_bytes(walk.take()?),
            b"fcTL" => frames += 1,
            b"IDAT" => data = true,
            _ => {}
        }
        // What was not looked at, and a checksum.
        walk.skip((begun + length + 4).checked_sub(walk.at)?)?;
        if &name == b"IEND" {
            break;
        }
    }
    let (width, height) = size.filter(|(width, height)| data && *width > 0 && *height > 0)?;
    let channels = match colours {
        0 => 1,
        2 | 3 => 3,
        4 => 2,
        6 => 4,
        _ => return None,
    };
    let pixels = u64::from(width) * u64::from(height);
    let memory = pixels.checked_mul(channels + u64::from(transparent && channels % 2 == 1))?;
    // To put something behind it, it is taken into memory.
    let memory = if lacks.is_empty() { memory } else { memory.checked_add(walk.bytes)? };
    let frames = told_frames.max(frames).max(1);
    // Only the picture for those who know no animations is decoded; so what moves is counted, and stands still.
    Some(Header { format: Format::Png, width, height, frames, all_pixels: pixels, memory, end: walk.at, lacks })
}

/// Blocks up to the end of the picture.
fn gif<F: BufRead + Seek>(walk: &mut Walk<F>) -> Option<Header> {
    walk.skip(6)?;
    let [w0, w1, h0, h1, flags, _, _] = walk.take()?;
    let (width, height) = (u32::from(u16::from_le_bytes([w0, w1])), u32::from(u16::from_le_bytes([h0, h1])));
    colours(walk, flags)?;
    let (mut frames, mut all_pixels, mut largest) = (0_u32, 0_u64, 0_u64);
    let mut lacks = &b""[..];
    'blocks: loop {
        if frames > 0 && walk.left() == 0 {
            lacks = GIF_END;
            break;
        }
        let kind = walk.byte()?;
        match kind {
            0x3b => break,
            0x21 => walk.skip(1)?,
            0x2c => {
                let [_, _, _, _, w0, w1, h0, h1, flags] = walk.take()?;
                let pixels = u64::from(u16::from_le_bytes([w0, w1])) * u64::from(u16::from_le_bytes([h0, h1]));
                frames = frames.saturating_add(1);
                all_pixels = all_pixels.saturating_add(pixels);
                largest = largest.max(pixels);
                colours(walk, flags)?;
                walk.skip(1)?;
            }
            _ => return None,
        }
        // Blocks of data, each after its length, up to an empty one.
        loop {
            if kind == 0x2c && walk.left() == 0 {
                lacks = GIF_DATA_END;
                break 'blocks;
            }
            match walk.byte()? {
                0 => break,
                length => walk.skip(u64::from(length))?,
            }
        }
    }
    if width == 0 || height == 0 || frames == 0 {
        return None;
    }
    // The canvas in four bytes for a pixel, and a frame in one, again while it is packed, and packed.
    let memory = u64::from(width) * u64::from(height) * 4 + largest * 3;
    Some(Header { format: Format::Gif, width, height, frames, all_pixels, memory, end: walk.at, lacks })
}

/// Skips a table of colours, if the flags say that there is one.
fn colours<F: BufRead + Seek>(walk: &mut Walk<F>, flags: u8) -> Option<()> {
    if flags & 0x80 == 0 { Some(()) } else { walk.skip(3 << ((flags & 7) + 1)) }
}

/// What a WebP shows so far.
#[derive(Default)]
struct WebP {
    canvas: Option<(u32, u32)>,
    animated: bool,
    transparent: bool,
    lossless: bool,
    /// Its pictures, within one another's chunks.
    pictures: u32,
    frames: u32,
}

/// Chunks up to the end that the first one tells.
fn webp<F: BufRead + Seek>(walk: &mut Walk<F>) -> Option<Header> {
    walk.skip(4)?;
    let end = 8 + u64::from(u32::from_le_bytes(walk.take()?));
    walk.skip(4)?;
    if end > walk.bytes {
        return None;
    }
    let mut found = WebP::default();
    while walk.at + 8 <= end {
        chunk(walk, end, &mut found)?;
    }
    let (width, height) = found.canvas.filter(|(width, height)| *width > 0 && *height > 0)?;
    if found.pictures == 0 || (found.animated && found.frames == 0) || (!found.animated && found.pictures > 1) {
        return None;
    }
    let pixels = u64::from(width) * u64::from(height);
    // In four bytes for a pixel: a frame, the canvas, what is read from it, that with clear pixels or opaque ones, a
    // copy for the choice of colours, the one before, and the first. Lossy pictures have their brightness and colours
    // besides, in one and a half, and their opacity, which is decoded as a picture of its own.
    let memory = end
        + match (found.animated, found.lossless, found.transparent) {
            (true, ..) => pixels * 32,
            (false, true, true) => pixels * 4,
            (false, true, false) => pixels * 7,
            (false, false, true) => pixels * 11,
            (false, false, false) => pixels * 9 / 2 + pixels % 2,
        };
    let frames = found.frames.max(1);
    let all_pixels = pixels.saturating_mul(u64::from(frames));
    Some(Header { format: Format::WebP, width, height, frames, all_pixels, memory, end, lacks: b"" })
}

/// One chunk, and what a frame has within it.
fn chunk<F: BufRead + Seek>(walk: &mut Walk<F>, end: u64, found: &mut WebP) -> Option<()> {
    let name: [u8; 4] = walk.take()?;
    let length = u64::from(u32::from_le_bytes(walk.take()?));
    let begun = walk.at;
    if begun + length > end {
        return None;
    }
    match &name {
        b"VP8X" if begun == 20 => {
            let [flags, _, _, _, w0, w1, w2, h0, h1, h2] = walk.take()?;
            let side = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) + 1;
            found.canvas = Some((side(w0, w1, w2), side(h0, h1, h2)));
            found.animated = flags & 2 != 0;
            found.transparent = flags & 16 != 0;
        }
        b"VP8 " | b"VP8L" => picture(walk, found, name == *b"VP8L")?,
        // A frame: where it lies, how long it is shown, and then chunks of its own. The decoder counts their length as
        // it is, while odd ones are padded; so an odd one would be read differently by each.
        b"ANMF" if length >= 16 && length % 2 == 0 => {
            found.frames = found.frames.saturating_add(1);
            walk.skip(16)?;
            let end = begun + length;
            while walk.at + 8 <= end {
                let name: [u8; 4] = walk.take()?;
                let length = u64::from(u32::from_le_bytes(walk.take()?));
                let begun = walk.at;
                if begun + length > end {
                    return None;
                }
                if matches!(&name, b"VP8 " | b"VP8L") {
                    picture(walk, found, name == *b"VP8L")?;
                }
                walk.skip((begun + length + length % 2).min(end).checked_sub(walk.at)?)?;
            }
            walk.skip(end.checked_sub(walk.at)?)?;
        }
        b"ANMF" => return None,
        _ => {}
    }
    walk.skip((begun + length + length % 2).min(end).checked_sub(walk.at)?)
}

/// The head of a coded picture, which says its size anew. It may be no larger than the canvas that was told.
fn picture<F: BufRead + Seek>(walk: &mut Walk<F>, found: &mut WebP, lossless: bool) -> Option<()> {
    let (width, height) = if lossless {
        let [0x2f, b0, b1, b2, b3] = walk.take()? else { return None };
        let bits = u32::from_le_bytes([b0, b1, b2, b3]);
        // Without an outer header the inner one says whether it is transparent.
        found.transparent |= found.canvas.is_none() && bits >> 28 & 1 == 1;
        ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
    } else {
        let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = walk.take()? else { return None };
        (u32::from(u16::from_le_bytes([w0, w1])) & 0x3fff, u32::from(u16::from_le_bytes([h0, h1])) & 0x3fff)
    };
    let canvas = *found.canvas.get_or_insert((width, height));
    found.lossless = lossless;
    found.pictures = found.pictures.saturating_add(1);
    (width <= canvas.0 && height <= canvas.1).then_some(())
}
