//! Pictures that move: read frame by frame and written anew as GIF, with one or two frames in memory at a time.

use std::io::BufReader;
use std::path::Path;

use gif::{ColorOutput, DecodeOptions, DisposalMethod, Encoder, Frame, MemoryLimit, Repeat};

use super::codecs::{self, Writing};
use super::header::{Format, Header};
use super::pixels::Pixels;
use super::{GIF, Kind, Limits, Refused, Size, Taken, colours, picture};

/// Reads and writes all frames, and one that stands still as the small size.
pub(super) fn make(upload: &Path, into: &Path, header: &Header, limits: &Limits) -> Result<Taken, Refused> {
    let mut out = Writing::begin(into, Size::Whole, limits.bytes)?;
    let written = match header.format {
        Format::WebP => webp(upload, header, &mut out),
        _ => gif(upload, header, &mut out),
    };
    let first = written.map_err(|refused| match refused {
        Refused::Failed(cause) => out.refused(cause),
        refused => refused,
    })?;
    let (whole, hash) = out.end()?;
    let (small, placeholder) = picture::still(first, into, limits)?;
    Ok(Taken {
        kind: Kind::Image,
        content_type: GIF,
        width: Some(header.width),
        height: Some(header.height),
        duration_ms: None,
        placeholder: Some(placeholder),
        sizes: std::iter::once(whole).chain(small).collect(),
        hash,
    })
}

/// The first frame of a GIF, on its canvas.
pub(super) fn first(upload: &Path, header: &Header) -> Result<Pixels, Refused> {
    let mut frames = Frames::open(upload, header)?;
    let mut canvas = canvas(header);
    draw(&frames.next()?.ok_or(Refused::Broken)?, &mut canvas);
    // What follows must be a picture too.
    while frames.next()?.is_some() {}
    Ok(canvas)
}

fn unwritten(cause: impl std::fmt::Display) -> Refused {
    Refused::Failed(cause.to_string())
}

/// The sides of a picture that was judged by its header; a GIF's are never longer.
fn sides(header: &Header) -> Result<(u16, u16), Refused> {
    let side = |side: u32| u16::try_from(side).map_err(|_| Refused::Broken);
    Ok((side(header.width)?, side(header.height)?))
}

fn canvas(header: &Header) -> Pixels {
    let bytes = vec![0; header.width as usize * header.height as usize * 4];
    Pixels { width: header.width, height: header.height, channels: 4, bytes }
}

/// A GIF's frames keep their colours, which are numbers into a table; only those numbers and the colours they mean go on.
fn gif(upload: &Path, header: &Header, out: &mut Writing) -> Result<Pixels, Refused> {
    let (width, height) = sides(header)?;
    let mut frames = Frames::open(upload, header)?;
    let mut encoder = Encoder::new(out, width, height, &[]).map_err(unwritten)?;
    let mut first = None;
    let mut repeated = false;
    while let Some(frame) = frames.next()? {
        if !repeated {
            // How often, the decoder knows when it has come to the first frame.
            encoder.set_repeat(frames.decoder.repeat()).map_err(unwritten)?;
            repeated = true;
        }
        first.get_or_insert_with(|| {
            let mut canvas = canvas(header);
            draw(&frame, &mut canvas);
            canvas
        });
        if frame.width > 0 && frame.height > 0 {
            encoder.write_frame(&frame).map_err(unwritten)?;
        }
    }
    encoder.into_inner().map_err(unwritten)?;
    first.ok_or(Refused::Broken)
}

/// The frames of a GIF, each with the colours that it uses, cut to the canvas.
struct Frames {
    decoder: gif::Decoder<BufReader<codecs::Bytes>>,
    width: u16,
    height: u16,
    most: u64,
}

impl Frames {
    fn open(upload: &Path, header: &Header) -> Result<Frames, Refused> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        // The header was judged, and each frame is held against it below.
        options.set_memory_limit(MemoryLimit::Unlimited);
        let decoder =
            options.read_info(BufReader::new(codecs::bytes_of(upload, header)?)).map_err(|_| Refused::Broken)?;
        let (width, height) = sides(header)?;
        if (decoder.width(), decoder.height()) != (width, height) {
            return Err(Refused::Broken);
        }
        Ok(Frames { decoder, width, height, most: header.memory })
    }

    fn next(&mut self) -> Result<Option<Frame<'static>>, Refused> {
        let Some(told) = self.decoder.next_frame_info().map_err(|_| Refused::Broken)? else { return Ok(None) };
        let (left, top, across, down) = (told.left, told.top, told.width, told.height);
        let (delay, dispose, transparent) = (told.delay, told.dispose, told.transparent);
        if u64::from(across) * u64::from(down) > self.most {
            return Err(Refused::Broken);
        }
        let mut numbers = vec![0; usize::from(across) * usize::from(down)];
        self.decoder.read_into_buffer(&mut numbers).map_err(|_| Refused::Broken)?;
        let (palette, transparent) =
            colours::used(&mut numbers, self.decoder.palette().map_err(|_| Refused::Broken)?, transparent);
        let (width, height) = (across.min(self.width.saturating_sub(left)), down.min(self.height.saturating_sub(top)));
        if (width, height) != (across, down) {
            let rows = numbers.chunks_exact(usize::from(across).max(1)).take(usize::from(height));
            numbers = rows.flat_map(|row| &row[..usize::from(width)]).copied().collect();
        }
        let mut frame = Frame { left, top, width, height, delay, dispose, transparent, ..Frame::default() };
        frame.palette = Some(palette);
        frame.buffer = numbers.into();
        Ok(Some(frame))
    }
}

/// Draws a frame on a canvas in which it lies.
fn draw(frame: &Frame<'_>, canvas: &mut Pixels) {
    let palette = frame.palette.as_deref().unwrap_or_default();
    let rows = frame.buffer.chunks_exact(usize::from(frame.width).max(1));
    for (y, row) in (usize::from(frame.top)..).zip(rows) {
        let begin = (y * canvas.width as usize + usize::from(frame.left)) * 4;
        for (pixel, number) in canvas.bytes[begin..].chunks_exact_mut(4).zip(row) {
            let colour = usize::from(*number) * 3;
            if let (false, Some(colour)) = (Some(*number) == frame.transparent, palette.get(colour..colour + 3)) {
                pixel[..3].copy_from_slice(colour);
                pixel[3] = u8::MAX;
            }
        }
    }
}

/// An animated WebP as GIF, which has 256 colours for each frame, and no half transparency.
fn webp(upload: &Path, header: &Header, out: &mut Writing) -> Result<Pixels, Refused> {
    let (width, height) = sides(header)?;
    let mut decoder = codecs::webp_decoder(upload, header)?;
    if decoder.num_frames() != header.frames {
        return Err(Refused::Broken);
    }
    let mut encoder = Encoder::new(out, width, height, &[]).map_err(unwritten)?;
    encoder
        .set_repeat(match decoder.loop_count() {
            image_webp::LoopCount::Forever => Repeat::Infinite,
            image_webp::LoopCount::Times(times) => Repeat::Finite(times.get() - 1),
        })
        .map_err(unwritten)?;
    let transparent = decoder.has_alpha();
    let mut read = vec![0; decoder.output_buffer_size().ok_or(Refused::Broken)?];
    let mut first = None;
    let mut before = Vec::new();
    for _ in 0..header.frames {
        let duration = decoder.read_frame(&mut read).map_err(|_| Refused::Broken)?;
        let now = clear_or_not(&read, if transparent { 4 } else { 3 });
        let whole = Area { left: 0, top: 0, right: width, bottom: height };
        // An opaque one is drawn over the one before, and only where it differs; others replace it.
        let area = if transparent { whole } else { changed(&before, &now, width).unwrap_or(whole) };
        let mut frame = colours::chosen(&area.cut(&now, width));
        (frame.left, frame.top) = (area.left, area.top);
        (frame.width, frame.height) = (area.right - area.left, area.bottom - area.top);
        frame.delay = u16::try_from((duration + 5) / 10).unwrap_or(u16::MAX);
        frame.dispose = if transparent { DisposalMethod::Background } else { DisposalMethod::Keep };
        encoder.write_frame(&frame).map_err(unwritten)?;
        before = now;
        first.get_or_insert_with(|| before.clone());
    }
    encoder.into_inner().map_err(unwritten)?;
    let bytes = first.ok_or(Refused::Broken)?;
    Ok(Pixels { width: header.width, height: header.height, channels: 4, bytes })
}

/// Pixels with colours and an opacity of all or nothing.
fn clear_or_not(read: &[u8], channels: usize) -> Vec<u8> {
    let pixel = |pixel: &[u8]| match *pixel {
        [red, green, blue] | [red, green, blue, 128..=255] => [red, green, blue, u8::MAX],
        _ => [0; 4],
    };
    read.chunks_exact(channels).flat_map(pixel).collect()
}

/// A part of a picture.
#[derive(Clone, Copy)]
struct Area {
    left: u16,
    top: u16,
    right: u16,
    bottom: u16,
}

impl Area {
    fn cut(self, pixels: &[u8], width: u16) -> Vec<u8> {
        let rows = pixels.chunks_exact(usize::from(width) * 4);
        let rows = rows.skip(usize::from(self.top)).take(usize::from(self.bottom - self.top));
        rows.flat_map(|row| &row[usize::from(self.left) * 4..usize::from(self.right) * 4]).copied().collect()
    }
}

/// The area in which a picture differs from the one before; one pixel if it does not. None without one before.
fn changed(before: &[u8], now: &[u8], width: u16) -> Option<Area> {
    if before.len() != now.len() {
        return None;
    }
    let row = usize::from(width) * 4;
    let mut area = Area { left: u16::MAX, top: u16::MAX, right: 0, bottom: 0 };
    for (y, (before, now)) in (0_u16..).zip(before.chunks_exact(row).zip(now.chunks_exact(row))) {
        if before == now {
            continue;
        }
        (area.top, area.bottom) = (area.top.min(y), y + 1);
        let mut pixels = (0_u16..).zip(before.chunks_exact(4).zip(now.chunks_exact(4)));
        let differs = |(_, (before, now)): &(u16, (&[u8], &[u8]))| before != now;
        if let Some((x, _)) = pixels.by_ref().find(differs) {
            let last = pixels.filter(differs).last().map_or(x, |(x, _)| x);
            (area.left, area.right) = (area.left.min(x), area.right.max(last + 1));
        }
    }
    Some(if area.bottom == 0 { Area { left: 0, top: 0, right: 1, bottom: 1 } } else { area })
}
