//! Makes files of all kinds, sound ones and hostile ones.

use image::{ExtendedColorType, ImageEncoder, RgbImage, RgbaImage};

/// A picture with a colour in each quarter, so that it is seen how it lies: red, green, blue, yellow.
pub(crate) const QUARTERS: [[u8; 3]; 4] = [[220, 30, 30], [30, 180, 40], [40, 50, 200], [230, 210, 40]];

pub(crate) fn quarters(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let quarter = usize::from(x >= width / 2) + 2 * usize::from(y >= height / 2);
        image::Rgb(QUARTERS[quarter])
    })
}

/// The same, of which the left part shines through.
pub(crate) fn glass(width: u32, height: u32) -> RgbaImage {
    let mut glass = image::DynamicImage::ImageRgb8(quarters(width, height)).to_rgba8();
    glass.enumerate_pixels_mut().filter(|(x, ..)| *x < width / 4).for_each(|(_, _, pixel)| pixel[3] = 0);
    glass
}

/// A picture without two equal pixels beside one another.
pub(crate) fn noise(width: u32, height: u32) -> RgbImage {
    let mut state = 1_u32;
    RgbImage::from_fn(width, height, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [one, two, three, _] = state.to_be_bytes();
        image::Rgb([one, two, three])
    })
}

pub(crate) fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(picture).expect("a JPEG");
    bytes
}

pub(crate) fn png(picture: &RgbImage) -> Vec<u8> {
    png_of(picture.width(), picture.height(), png::ColorType::Rgb, png::BitDepth::Eight, picture.as_raw())
}

pub(crate) fn clear_png(picture: &RgbaImage) -> Vec<u8> {
    png_of(picture.width(), picture.height(), png::ColorType::Rgba, png::BitDepth::Eight, picture.as_raw())
}

pub(crate) fn png_of(width: u32, height: u32, colour: png::ColorType, depth: png::BitDepth, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == png::ColorType::Indexed {
        encoder.set_palette(QUARTERS.concat());
    }
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(pixels).expect("pixels");
    writer.finish().expect("an end");
    bytes
}

pub(crate) fn webp(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image_webp::WebPEncoder::new(&mut bytes)
        .encode(picture.as_raw(), picture.width(), picture.height(), image_webp::ColorType::Rgb8)
        .expect("a WebP");
    bytes
}

pub(crate) fn clear_webp(picture: &RgbaImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    image_webp::WebPEncoder::new(&mut bytes)
        .encode(picture.as_raw(), picture.width(), picture.height(), image_webp::ColorType::Rgba8)
        .expect("a WebP");
    bytes
}

/// A GIF of these frames.
pub(crate) fn gif(frames: &[RgbImage]) -> Vec<u8> {
    let (width, height) = (frames[0].width() as u16, frames[0].height() as u16);
    let mut encoder = gif::Encoder::new(Vec::new(), width, height, &[]).expect("a header");
    encoder.set_repeat(gif::Repeat::Infinite).expect("an extension");
    for picture in frames {
        let mut frame = gif::Frame::from_rgb_speed(width, height, picture.as_raw(), 30);
        frame.delay = 7;
        encoder.write_frame(&frame).expect("a frame");
    }
    encoder.into_inner().expect("an end")
}

/// A GIF of so many frames of one pixel, with data that no decoder would take if `sound` is false.
pub(crate) fn many_frames(frames: usize, sound: bool) -> Vec<u8> {
    let mut bytes = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
    let data: &[u8] = if sound { b"\x02\x02\x44\x01\x00" } else { b"\x0c\x02\xff\xff\x00" };
    for _ in 0..frames {
        bytes.extend(b",\x00\x00\x00\x00\x01\x00\x01\x00\x00");
        bytes.extend(data);
    }
    bytes.push(b';');
    bytes
}

/// A WebP in its extended form: flags, the canvas, and these chunks.
pub(crate) fn extended_webp(flags: u8, width: u32, height: u32, chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let head = [vec![flags, 0, 0, 0], side(width), side(height)].concat();
    let mut body = b"WEBP".to_vec();
    body.extend(riff_chunk(b"VP8X", &head));
    chunks.iter().for_each(|(name, content)| body.extend(riff_chunk(name, content)));
    riff_chunk(b"RIFF", &body)
}

pub(crate) fn riff_chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = [&name[..], &(content.len() as u32).to_le_bytes(), content].concat();
    bytes.extend(vec![0; content.len() % 2]);
    bytes
}

/// The coded picture within a simple WebP, with its own chunk.
pub(crate) fn coded(webp: &[u8]) -> Vec<u8> {
    // Behind the names and lengths of the file and of its one chunk.
    webp[12..].to_vec()
}

/// An animated WebP of these pictures, each shown for 70 ms.
pub(crate) fn animated_webp(frames: &[RgbImage]) -> Vec<u8> {
    let (width, height) = frames[0].dimensions();
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    let mut chunks: Vec<(&[u8; 4], Vec<u8>)> = vec![(b"ANIM", vec![0; 6])];
    for picture in frames {
        let head = [vec![0; 6], side(width), side(height), vec![70, 0, 0, 0]].concat();
        chunks.push((b"ANMF", [head, coded(&webp(picture))].concat()));
    }
    extended_webp(2, width, height, &chunks)
}

/// Puts a segment behind the beginning of a JPEG.
pub(crate) fn with_segment(jpeg: &[u8], marker: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &length, content, &jpeg[2..]].concat()
}

/// Puts a chunk behind the header of a PNG.
pub(crate) fn with_chunk(png: &[u8], name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&png[..33], &png_chunk(name, content), &png[33..]].concat()
}

pub(crate) fn png_chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let named = [&name[..], content].concat();
    [&(content.len() as u32).to_be_bytes()[..], &named, &crc(&named).to_be_bytes()].concat()
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |mut crc, byte| {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 });
        crc
    })
}

/// The head of a PNG that claims this size, and data that is none.
pub(crate) fn claiming_png(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let chunks = [png_chunk(b"IHDR", &head), png_chunk(b"IDAT", data), png_chunk(b"IEND", b"")].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunks].concat()
}

/// A JPEG that begins its frame with this marker and claims this size, with so many bytes of data that are none: no code
/// is as long as a row of ones.
pub(crate) fn claiming_jpeg(marker: u8, width: u16, height: u16, data: usize) -> Vec<u8> {
    let mut bytes = jpeg(&quarters(16, 16));
    let place = |marker: &[u8; 2]| bytes.windows(2).position(|found| found == marker).expect("a segment");
    let (frame, scan) = (place(b"\xff\xc0"), place(b"\xff\xda"));
    bytes[frame + 1] = marker;
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes.truncate(scan + 14);
    bytes.extend([0xff, 0].repeat(data / 2));
    bytes.extend(b"\xff\xd9");
    bytes
}

/// What Exif says of a picture: how to turn it, and the same secret in all its corners.
pub(crate) fn exif(orientation: u16, secret: &[u8]) -> Vec<u8> {
    let entry = |tag: u16, kind: u16, count: usize, value: u32| {
        let count = (count as u32).to_le_bytes();
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count, &value.to_le_bytes()].concat()
    };
    let table = |entries: &[Vec<u8>], next: u32| {
        [&(entries.len() as u16).to_le_bytes()[..], &entries.concat(), &next.to_le_bytes()].concat()
    };
    let size = |entries: usize| (2 + 12 * entries + 4) as u32;
    // Four tables, then the secret, to which all of them point.
    let (main, private) = (8, 8 + size(4));
    let gps = private + size(2);
    let thumbnail = gps + size(2);
    let told = thumbnail + size(3);
    let text = |tag: u16, kind: u16| entry(tag, kind, secret.len(), told);
    let main_table = table(
        &[
            text(0x010f, 2),
            entry(0x0112, 3, 1, u32::from(orientation)),
            entry(0x8769, 4, 1, private),
            entry(0x8825, 4, 1, gps),
        ],
        thumbnail,
    );
    // The maker's notes and a comment; where it was taken; a picture in the picture.
    let private_table = table(&[text(0x927c, 7), text(0x9286, 7)], 0);
    let gps_table = table(&[text(0x0002, 5), text(0x001d, 2)], 0);
    let length = secret.len() as u32;
    let thumbnail_table = table(&[entry(0x0103, 3, 1, 6), entry(0x0201, 4, 1, told), entry(0x0202, 4, 1, length)], 0);
    let head = [b"II\x2a\x00".to_vec(), (main as u32).to_le_bytes().to_vec()].concat();
    [head, main_table, private_table, gps_table, thumbnail_table, secret.to_vec()].concat()
}

/// Zlib data of so many zeros, which is 158 times shorter.
pub(crate) fn bomb(zeros: usize) -> Vec<u8> {
    let mut bits = Bits { bytes: vec![0x78, 0x01], free: 0 };
    // One block with the fixed code: a zero, then again and again "258 bytes as the last one".
    bits.put(0b011, 3);
    bits.put(0b0000_1100, 8);
    let runs = (zeros - 1) / 258;
    for _ in 0..runs {
        bits.put(0b1010_0011, 8);
        bits.put(0, 5);
    }
    bits.put(0, 7);
    let zeros = (1 + runs * 258) as u32;
    bits.bytes.extend((((zeros % 65_521) << 16) | 1).to_be_bytes());
    bits.bytes
}

struct Bits {
    bytes: Vec<u8>,
    /// How many bits of the last byte are not used.
    free: u32,
}

impl Bits {
    fn put(&mut self, bits: u32, count: u32) {
        for bit in (0..count).map(|place| (bits >> place) & 1) {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= (bit as u8) << (8 - self.free);
            self.free -= 1;
        }
    }
}

/// A JPEG without colours.
pub(crate) fn grey_jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels: Vec<u8> = (0..width * height).map(|place| (place % 251) as u8).collect();
    let encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
    encoder.write_image(&pixels, width, height, ExtendedColorType::L8).expect("a JPEG");
    bytes
}
