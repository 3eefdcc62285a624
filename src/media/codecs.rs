//! The decoders and encoders of other people, each behind one function: from a file to pixels, from pixels to a file
//! with nothing else in it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Chain, Cursor, Read, Seek, Take, Write};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image_webp::WebPDecoder;
use sha2::{Digest, Sha256};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::gate::failed;
use super::header::{Format, Header};
use super::pixels::{Opaque, Pixels, Seen};
use super::{Refused, Size, Stored};

/// How good a JPEG is, of 100.
const QUALITY: u8 = 85;
/// Most scans of a progressive JPEG; those that people make have about ten, and each costs a walk over the picture.
const SCANS: usize = 50;
/// Longest Exif of a WebP that is asked how to turn the picture.
const EXIF_BYTES: usize = 1024 * 1024;
/// Most memory of a PNG's decoder besides the pixels: a few rows.
const PNG_BYTES: usize = 4 * 1024 * 1024;

/// What could go on with the data of a JPEG: no marker, and no zeros.
const MORE_DATA: [u8; 64] = [0x5a; 64];
/// Most pixels of a PNG that is packed well; greater ones would take seconds, and are packed fast.
const PACKED_WELL: u64 = 1024 * 1024;

/// What a decoder says of bytes that it does not like is of use to nobody.
fn broken<E>(_: E) -> Refused {
    Refused::Broken
}

/// The picture, and how it must be turned. Colour profiles are not applied: pixels are taken as sRGB.
pub(super) fn decode(upload: &Path, header: &Header) -> Result<(Pixels, Orientation), Refused> {
    match header.format {
        Format::Jpeg => jpeg(upload, header),
        Format::Png => png(upload, header),
        Format::Gif => super::animation::first(upload, header).map(|pixels| (pixels, Orientation::NoTransforms)),
        Format::WebP => webp(upload, header),
    }
}

/// The bytes of a picture, without those behind it, and with the mark of its end.
pub(super) fn read(upload: &Path, header: &Header) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::with_capacity(usize::try_from(header.end).unwrap_or(0) + header.lacks.len());
    bytes_of(upload, header)?.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The same, as they are read.
pub(super) fn bytes_of(upload: &Path, header: &Header) -> Result<Bytes, Refused> {
    Ok(File::open(upload).map_err(failed)?.take(header.end).chain(header.lacks))
}

/// A file up to the end of its picture, and what it lacks.
pub(super) type Bytes = Chain<Take<File>, &'static [u8]>;

fn oriented(exif: Option<&[u8]>) -> Orientation {
    exif.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

fn jpeg(upload: &Path, header: &Header) -> Result<(Pixels, Orientation), Refused> {
    let mut bytes = read(upload, header)?;
    let decoded = jpeg_of(&bytes, header)?;
    if header.lacks.is_empty() {
        return Ok(decoded);
    }
    // The decoder goes on with zeros where data ends too early. A picture that was whole looks the same when something
    // else stands behind its data.
    let seen = Sha256::digest(&decoded.0.bytes);
    drop(decoded);
    let end = bytes.len() - header.lacks.len();
    bytes.splice(end..end, MORE_DATA);
    let decoded = jpeg_of(&bytes, header)?;
    if Sha256::digest(&decoded.0.bytes) == seen { Ok(decoded) } else { Err(Refused::Broken) }
}

fn jpeg_of(bytes: &[u8], header: &Header) -> Result<(Pixels, Orientation), Refused> {
    let (width, height) = (header.width as usize, header.height as usize);
    // Strict: it fills up what is missing of a broken one otherwise. One that was given an end in the middle of its data
    // is filled up nevertheless, with grey, as browsers do.
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height)
        .jpeg_set_max_scans(SCANS);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(broken)?;
    if decoder.dimensions() != Some((width, height)) {
        return Err(Refused::Broken);
    }
    let (channels, space) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        _ => (3, ColorSpace::RGB),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let mut pixels = vec![0; width * height * channels];
    if decoder.output_buffer_size() != Some(pixels.len()) {
        return Err(Refused::Broken);
    }
    decoder.decode_into(&mut pixels).map_err(broken)?;
    let turned = oriented(decoder.exif().map(Vec::as_slice));
    Ok((Pixels { width: header.width, height: header.height, channels, bytes: pixels }, turned))
}

fn png(upload: &Path, header: &Header) -> Result<(Pixels, Orientation), Refused> {
    match header.lacks {
        [] => png_of(BufReader::new(File::open(upload).map_err(failed)?), header),
        _ => png_of(Cursor::new(read(upload, header)?), header),
    }
}

fn png_of(file: impl BufRead + Seek, header: &Header) -> Result<(Pixels, Orientation), Refused> {
    let mut decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: PNG_BYTES });
    // What is packed into them is not even unpacked.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(broken)?;
    let channels = reader.output_color_type().0.samples();
    if reader.info().size() != (header.width, header.height) {
        return Err(Refused::Broken);
    }
    let bytes = reader.output_buffer_size().ok_or(Refused::Broken)?;
    if bytes as u64 > header.memory {
        return Err(Refused::Broken);
    }
    let mut pixels = vec![0; bytes];
    reader.next_frame(&mut pixels).map_err(broken)?;
    reader.finish().map_err(broken)?;
    let turned = oriented(reader.info().exif_metadata.as_deref());
    Ok((Pixels { width: header.width, height: header.height, channels, bytes: pixels }, turned))
}

fn webp(upload: &Path, header: &Header) -> Result<(Pixels, Orientation), Refused> {
    let mut decoder = webp_decoder(upload, header)?;
    let bytes = decoder.output_buffer_size().ok_or(Refused::Broken)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; bytes];
    decoder.read_image(&mut pixels).map_err(broken)?;
    let turned = oriented(decoder.exif_metadata().ok().flatten().as_deref());
    Ok((Pixels { width: header.width, height: header.height, channels, bytes: pixels }, turned))
}

/// A decoder that sees what the header saw, and no byte more.
pub(super) fn webp_decoder(upload: &Path, header: &Header) -> Result<WebPDecoder<Cursor<Vec<u8>>>, Refused> {
    let mut decoder = WebPDecoder::new(Cursor::new(read(upload, header)?)).map_err(broken)?;
    decoder.set_memory_limit(EXIF_BYTES);
    if decoder.dimensions() != (header.width, header.height) {
        return Err(Refused::Broken);
    }
    Ok(decoder)
}

/// A size on its way to the disk: counted, and summed up by SHA-256.
pub(super) struct Writing {
    size: Size,
    path: PathBuf,
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
    max: u64,
}

impl Writing {
    pub(super) fn begin(into: &Path, size: Size, max: u64) -> Result<Writing, Refused> {
        let path = into.join(match size {
            Size::Whole => "whole",
            Size::Medium => "medium",
            Size::Small => "small",
        });
        let file = BufWriter::with_capacity(64 * 1024, File::create(&path).map_err(failed)?);
        Ok(Writing { size, path, file, digest: Sha256::new(), bytes: 0, max })
    }

    /// Done: what was stored, and its digest.
    pub(super) fn end(mut self) -> Result<(Stored, String), Refused> {
        self.file.flush().map_err(failed)?;
        let hash = HEXLOWER.encode(&self.digest.finalize());
        Ok((Stored { size: self.size, path: self.path, bytes: self.bytes }, hash))
    }

    /// Why an encoder stopped.
    pub(super) fn refused(&self, cause: impl std::fmt::Display) -> Refused {
        if self.bytes > self.max { Refused::TooHeavy { max: self.max } } else { Refused::Failed(cause.to_string()) }
    }
}

impl Write for Writing {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        self.bytes += part.len() as u64;
        if self.bytes > self.max {
            return Err(std::io::Error::other("it becomes too large"));
        }
        self.digest.update(part);
        self.file.write_all(part)?;
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Writes a picture through which nothing shines.
pub(super) fn write_jpeg(seen: Seen<'_>, out: &mut Writing) -> Result<(), Refused> {
    let written = JpegEncoder::new_with_quality(&mut *out, QUALITY).encode_image(&Opaque(seen));
    written.map_err(|cause| out.refused(cause))
}

/// Writes a picture with its opacity, row by row.
pub(super) fn write_png(seen: Seen<'_>, out: &mut Writing) -> Result<(), Refused> {
    let (width, height) = seen.size();
    let written = (|| {
        let mut encoder = png::Encoder::new(&mut *out, width, height);
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        let large = u64::from(width) * u64::from(height) > PACKED_WELL;
        encoder.set_compression(if large { png::Compression::Fast } else { png::Compression::Balanced });
        let mut encoder = encoder.write_header()?;
        let mut rows = encoder.stream_writer()?;
        let mut row = Vec::with_capacity(width as usize * 4);
        for y in 0..height {
            row.clear();
            (0..width).for_each(|x| row.extend_from_slice(&seen.at(x, y)));
            rows.write_all(&row)?;
        }
        rows.finish()?;
        encoder.finish()
    })();
    written.map_err(|cause| out.refused(cause))
}
