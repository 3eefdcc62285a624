//! A picture, from an upload to the sizes that are kept of it. Nothing but its pixels passes.

use std::path::Path;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, MulDiv, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;

use super::codecs::{self, Writing};
use super::header::{Format, Header};
use super::pixels::{Pixels, Seen, turned_size};
use super::{JPEG, Kind, Limits, PNG, Refused, Size, Stored, Taken, animation};

/// The longest side from which the placeholder is made.
const BLURRED: u32 = 48;

/// Decodes, turns and writes it. Opaque pictures become JPEG, those through which something shines PNG, those that move
/// GIF.
pub(super) fn make(upload: &Path, into: &Path, header: &Header, limits: &Limits) -> Result<Taken, Refused> {
    if header.frames > 1 && matches!(header.format, Format::Gif | Format::WebP) {
        return animation::make(upload, into, header, limits);
    }
    let (pixels, turned) = codecs::decode(upload, header)?;
    let transparent = pixels.is_transparent();
    let content_type = if transparent { PNG } else { JPEG };
    let (width, height) = turned_size(turned, pixels.width, pixels.height);
    let write = |seen: Seen<'_>, size: Size| {
        let mut out = Writing::begin(into, size, limits.bytes)?;
        if transparent {
            codecs::write_png(seen, &mut out)?
        } else {
            codecs::write_jpeg(seen, &mut out)?
        }
        out.end()
    };
    let (whole, hash) = write(Seen { pixels: &pixels, turned }, Size::Whole)?;
    let mut sizes = vec![whole];
    // The smaller ones are made one from another, so the memory of the whole is free before they are written.
    let mut pixels = pixels;
    for size in [Size::Medium, Size::Small] {
        if let Some(side) = size.side().filter(|_| size.is_kept(content_type, width, height)) {
            pixels = smaller(pixels, side)?;
            sizes.push(write(Seen { pixels: &pixels, turned }, size)?.0);
        }
    }
    let placeholder = Some(placeholder(pixels, turned)?);
    Ok(Taken {
        kind: Kind::Image,
        content_type,
        width: Some(width),
        height: Some(height),
        duration_ms: None,
        placeholder,
        sizes,
        hash,
    })
}

/// One frame of an animation, as its small size; none if the animation is no larger than that.
pub(super) fn still(pixels: Pixels, into: &Path, limits: &Limits) -> Result<(Option<Stored>, String), Refused> {
    let Some(side) = Size::Small.side().filter(|side| pixels.width.max(pixels.height) > *side) else {
        return Ok((None, placeholder(pixels, Orientation::NoTransforms)?));
    };
    let pixels = smaller(pixels, side)?;
    let mut out = Writing::begin(into, Size::Small, limits.bytes)?;
    codecs::write_png(pixels.straight(), &mut out)?;
    let stored = out.end()?.0;
    Ok((Some(stored), placeholder(pixels, Orientation::NoTransforms)?))
}

/// Makes a picture smaller, so that its longest side is this long. Colours are weighted by their opacity meanwhile, so
/// that one that nobody sees does not shine through when pixels are mixed; in place, since the picture may be large.
fn smaller(mut pixels: Pixels, side: u32) -> Result<Pixels, Refused> {
    let (channels, pixel) = match pixels.channels {
        1 => (1, PixelType::U8),
        2 => (2, PixelType::U8x2),
        3 => (3, PixelType::U8x3),
        _ => (4, PixelType::U8x4),
    };
    let longest = u64::from(pixels.width.max(pixels.height));
    let scaled = |length: u32| {
        let scaled = (u64::from(length) * u64::from(side) + longest / 2) / longest;
        u32::try_from(scaled).unwrap_or(side).clamp(1, side)
    };
    let mut small = Image::new(scaled(pixels.width), scaled(pixels.height), pixel);
    let weights = (channels % 2 == 0).then(MulDiv::new);
    if let Some(weights) = &weights {
        let mut large = Image::from_slice_u8(pixels.width, pixels.height, &mut pixels.bytes, pixel).map_err(failed)?;
        weights.multiply_alpha_inplace(&mut large).map_err(failed)?;
    }
    let large = ImageRef::new(pixels.width, pixels.height, &pixels.bytes, pixel).map_err(failed)?;
    let well = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3)).use_alpha(false);
    Resizer::new().resize(&large, &mut small, &well).map_err(failed)?;
    if let Some(weights) = &weights {
        weights.divide_alpha_inplace(&mut small).map_err(failed)?;
    }
    Ok(Pixels { width: small.width(), height: small.height(), channels, bytes: small.into_vec() })
}

fn failed(cause: impl std::fmt::Display) -> Refused {
    Refused::Failed(cause.to_string())
}

/// A few characters from which a client draws a blurred picture while it waits for this one. Where something shines
/// through, it does so on white.
fn placeholder(pixels: Pixels, turned: Orientation) -> Result<String, Refused> {
    let pixels = if pixels.width.max(pixels.height) > BLURRED { smaller(pixels, BLURRED)? } else { pixels };
    let seen = Seen { pixels: &pixels, turned };
    let (width, height) = seen.size();
    let mut flat = Vec::with_capacity(width as usize * height as usize * 4);
    for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
        let [red, green, blue, opacity] = seen.at(x, y).map(u16::from);
        let on_white = |colour: u16| ((colour * opacity + 255 * (255 - opacity)) / 255) as u8;
        flat.extend([on_white(red), on_white(green), on_white(blue), u8::MAX]);
    }
    let (across, down) = if width >= height { (4, 3) } else { (3, 4) };
    blurhash::encode(across, down, width, height, &flat).map_err(failed)
}
