//! What pictures tell of their owners.

use duet::media::Size;

use crate::make;
use crate::upload::{Kept, picture};

/// It stands in every corner of a picture's metadata.
const SECRET: &[u8] = b"48.8583701N 2.2944813E Canon-0815 <x:xmpmeta";

#[track_caller]
fn keeps_no_secret(bytes: &[u8]) -> Kept {
    assert!(bytes.windows(SECRET.len()).any(|part| part == SECRET), "it is in the upload");
    let kept = picture(bytes).expect("a picture");
    // No part of it either that anybody could read.
    for part in SECRET.windows(8) {
        assert!(!kept.tells(part), "{}", String::from_utf8_lossy(part));
    }
    for name in
        [&b"Exif"[..], b"eXIf", b"EXIF", b"ICC_PROFILE", b"iCCP", b"ICCP", b"XMP ", b"http://", b"Photoshop", b"tEXt"]
    {
        assert!(!kept.tells(name), "{}", String::from_utf8_lossy(name));
    }
    kept
}

#[test]
fn s44_a_jpeg_tells_neither_place_nor_camera() {
    let exif = [b"Exif\0\0", &make::exif(1, SECRET)[..]].concat();
    let xmp = [b"http://ns.adobe.com/xap/1.0/\0", SECRET].concat();
    let profile = [b"ICC_PROFILE\0\x01\x01", &[0; 128][..], SECRET].concat();
    let press = [b"Photoshop 3.0\08BIM\x04\x04\0\0\0\0\0\x2c", SECRET].concat();
    let mut jpeg = make::jpeg(&make::quarters(1200, 300));
    for (marker, content) in [(0xe1, &exif), (0xe1, &xmp), (0xe2, &profile), (0xed, &press), (0xfe, &SECRET.to_vec())] {
        jpeg = make::with_segment(&jpeg, marker, content);
    }
    // And a second picture behind the first, as cameras add it, with its own.
    jpeg.extend(make::with_segment(&make::jpeg(&make::quarters(30, 30)), 0xe1, &exif));
    let kept = keeps_no_secret(&jpeg);
    assert_eq!(kept.sizes(), [Size::Whole, Size::Medium, Size::Small]);
}

#[test]
fn s44_a_png_tells_neither_place_nor_camera() {
    for png in [make::png(&make::quarters(1200, 300)), make::clear_png(&make::glass(1200, 300))] {
        let mut png = make::with_chunk(&png, b"eXIf", &make::exif(1, SECRET));
        png = make::with_chunk(&png, b"tEXt", &[b"Comment\0", SECRET].concat());
        png = make::with_chunk(&png, b"iTXt", &[b"XML:com.adobe.xmp\0\0\0\0\0", SECRET].concat());
        png = make::with_chunk(&png, b"prVt", SECRET);
        keeps_no_secret(&png);
    }
}

#[test]
fn s44_a_webp_tells_neither_place_nor_camera() {
    for coded in
        [make::coded(&make::webp(&make::quarters(1200, 300))), make::coded(&make::clear_webp(&make::glass(1200, 300)))]
    {
        let chunks = [
            (b"ICCP", [&[0; 128], SECRET].concat()),
            (b"VP8L", coded[8..].to_vec()),
            (b"EXIF", make::exif(1, SECRET)),
            (b"XMP ", SECRET.to_vec()),
            (b"prVt", SECRET.to_vec()),
        ];
        keeps_no_secret(&make::extended_webp(0x20 | 0x10 | 0x08 | 0x04, 1200, 300, &chunks));
    }
}

#[test]
fn s44_a_gif_tells_no_comments() {
    let frames = [make::quarters(300, 40), make::noise(300, 40)];
    for frames in [&frames[..1], &frames] {
        let gif = make::gif(frames);
        let end = gif.len() - 1;
        let length = SECRET.len() as u8;
        let comment = [b"!\xfe", &[length][..], SECRET, b"\0"].concat();
        let packet = [b"!\xff\x0bXMP DataXMP", &[length][..], SECRET, b"\0"].concat();
        keeps_no_secret(&[&gif[..end], &comment, &packet, &gif[end..], SECRET].concat());
    }
}

/// A picture as it lies in a file that says it must be turned so.
fn laid(upright: &image::RgbImage, orientation: u16) -> image::RgbImage {
    use image::imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    // The ways of Exif to say how row and column of the file are seen.
    match orientation {
        2 => flip_horizontal(upright),
        3 => rotate180(upright),
        4 => flip_vertical(upright),
        5 => flip_horizontal(&rotate90(upright)),
        6 => rotate270(upright),
        7 => flip_horizontal(&rotate270(upright)),
        8 => rotate90(upright),
        _ => upright.clone(),
    }
}

#[track_caller]
fn is_upright(kept: &Kept, width: u32, height: u32) {
    assert_eq!((kept.taken.width, kept.taken.height), (Some(width), Some(height)));
    for size in kept.sizes() {
        let pixels = kept.pixels(size);
        let (across, down) = pixels.dimensions();
        assert_eq!(across * height / width, down);
        for (quarter, colour) in make::QUARTERS.iter().enumerate() {
            let (right, bottom) = (quarter as u32 % 2, quarter as u32 / 2);
            let found = pixels.get_pixel(across / 4 + right * across / 2, down / 4 + bottom * down / 2);
            let close = |(one, other): (&u8, &u8)| one.abs_diff(*other) < 12;
            assert!(colour.iter().zip(&found.0).all(close), "quarter {quarter} of {size:?}: {found:?}");
        }
    }
}

#[test]
fn s44_pictures_are_turned_before_their_exif_is_lost() {
    let upright = make::quarters(600, 300);
    for orientation in 0..=9 {
        let lying = laid(&upright, orientation);
        let exif = make::exif(orientation, SECRET);
        let jpeg = make::with_segment(&make::jpeg(&lying), 0xe1, &[b"Exif\0\0", &exif[..]].concat());
        is_upright(&keeps_no_secret(&jpeg), 600, 300);
        is_upright(&keeps_no_secret(&make::with_chunk(&make::png(&lying), b"eXIf", &exif)), 600, 300);
        let coded = make::coded(&make::webp(&lying));
        let chunks = [(b"VP8L", coded[8..].to_vec()), (b"EXIF", exif)];
        let webp = make::extended_webp(0x08, lying.width(), lying.height(), &chunks);
        is_upright(&keeps_no_secret(&webp), 600, 300);
    }
}

#[test]
fn s44_exif_behind_the_pixels_of_a_png_turns_it_too() {
    let lying = laid(&make::quarters(600, 300), 6);
    let png = make::png(&lying);
    let (pixels, end) = png.split_at(png.len() - 12);
    is_upright(&keeps_no_secret(&[pixels, &make::png_chunk(b"eXIf", &make::exif(6, SECRET)), end].concat()), 600, 300);
}
