//! What is kept of sound pictures.

use data_encoding::HEXLOWER;
use duet::catalogue::Language;
use duet::error::{Error, ErrorCode};
use duet::media::{Kind, Refused, Size};

use crate::make;
use crate::upload::{frames, picture};

#[test]
fn an_opaque_picture_is_kept_as_jpeg_in_three_sizes() {
    let large = make::quarters(2000, 1000);
    for bytes in [make::jpeg(&large), make::png(&large), make::webp(&large), make::gif(std::slice::from_ref(&large))] {
        let kept = picture(&bytes).expect("a picture");
        assert_eq!((kept.taken.kind, kept.taken.content_type), (Kind::Image, "image/jpeg"));
        assert_eq!((kept.taken.width, kept.taken.height, kept.taken.duration_ms), (Some(2000), Some(1000), None));
        assert_eq!(kept.sizes(), [Size::Whole, Size::Medium, Size::Small]);
        assert_eq!(kept.pixels(Size::Whole).dimensions(), (2000, 1000));
        assert_eq!(kept.pixels(Size::Medium).dimensions(), (1024, 512));
        assert_eq!(kept.pixels(Size::Small).dimensions(), (256, 128));
        assert_eq!(kept.taken.placeholder.as_ref().map(String::len), Some(28));
        let whole = kept.bytes(Size::Whole);
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&whole);
        assert_eq!(kept.taken.hash, HEXLOWER.encode(&digest));
    }
}

#[test]
fn a_size_no_smaller_than_the_next_is_left_out() {
    for (width, height, sizes) in [
        (1024, 1000, &[Size::Whole, Size::Small][..]),
        (1025, 10, &[Size::Whole, Size::Medium, Size::Small]),
        (256, 256, &[Size::Whole]),
        (100, 257, &[Size::Whole, Size::Small]),
        (1, 1, &[Size::Whole]),
        (3000, 1, &[Size::Whole, Size::Medium, Size::Small]),
    ] {
        let kept = picture(&make::png(&make::quarters(width, height))).expect("a picture");
        assert_eq!(kept.sizes(), sizes, "{width} by {height}");
        for size in sizes {
            let (across, down) = kept.pixels(*size).dimensions();
            assert_eq!(across.max(down), size.side().unwrap_or(u32::MAX).min(width.max(height)));
            assert!(size.is_kept("image/jpeg", width, height));
        }
    }
}

#[test]
fn what_shines_through_is_kept_as_png() {
    let mut glass = make::glass(600, 300);
    // A colour behind the glass that is not seen, and must not be seen at the edge either when it becomes smaller.
    glass.pixels_mut().filter(|pixel| pixel[3] == 0).for_each(|pixel| pixel.0 = [255, 255, 255, 0]);
    for bytes in [make::clear_png(&glass), make::clear_webp(&glass)] {
        let kept = picture(&bytes).expect("a picture");
        assert_eq!((kept.taken.content_type, kept.sizes()), ("image/png", vec![Size::Whole, Size::Small]));
        assert_eq!(kept.pixels(Size::Whole), glass);
        let small = kept.pixels(Size::Small);
        assert_eq!((small.get_pixel(10, 10)[3], small.get_pixel(200, 20)[3]), (0, 255));
        // At the edge there are pixels of which one half is seen: of the red one, not of the white one.
        let edge = small.rows().next().expect("a row").find(|pixel| pixel[3] > 100).expect("an edge");
        assert!(edge[0] > 200 && edge[1] < 60 && edge[2] < 60, "{edge:?}");
    }
    // Opacity that is nowhere used is none.
    glass.pixels_mut().for_each(|pixel| pixel[3] = 255);
    assert_eq!(picture(&make::clear_png(&glass)).expect("a picture").taken.content_type, "image/jpeg");
}

#[test]
fn all_kinds_of_png_come_in() {
    use png::{BitDepth, ColorType};
    for (colour, channels) in
        [(ColorType::Grayscale, 1), (ColorType::GrayscaleAlpha, 2), (ColorType::Rgb, 3), (ColorType::Rgba, 4)]
    {
        for (depth, bytes) in [(BitDepth::Eight, 1), (BitDepth::Sixteen, 2)] {
            let pixels = vec![255; 30 * 20 * channels * bytes];
            let kept = picture(&make::png_of(30, 20, colour, depth, &pixels)).expect("a picture");
            assert_eq!(kept.pixels(Size::Whole).get_pixel(3, 3).0, [255; 4]);
        }
    }
    for (depth, bits) in [(BitDepth::One, 1), (BitDepth::Two, 2), (BitDepth::Four, 4)] {
        let pixels = vec![0; (30 * bits as usize).div_ceil(8) * 20];
        let grey = picture(&make::png_of(30, 20, ColorType::Grayscale, depth, &pixels)).expect("a picture");
        assert_eq!(grey.pixels(Size::Whole).get_pixel(3, 3).0, [0, 0, 0, 255]);
        if bits > 1 {
            let table = make::png_of(30, 20, ColorType::Indexed, depth, &pixels);
            picture(&table).expect("a picture");
            let clear = make::with_chunk(&table, b"PLTE", &make::QUARTERS.concat());
            assert!(picture(&clear).is_err(), "two tables");
        }
    }
}

#[test]
fn a_jpeg_without_colours_comes_in() {
    let kept = picture(&make::grey_jpeg(300, 200)).expect("a picture");
    assert_eq!(kept.sizes(), [Size::Whole, Size::Small]);
    let pixel = kept.pixels(Size::Whole).get_pixel(17, 0).0;
    assert!(pixel[0] == pixel[1] && pixel[1] == pixel[2], "{pixel:?}");
}

#[test]
fn an_animation_moves_on_and_its_small_size_stands_still() {
    let pictures = [make::quarters(300, 200), make::noise(300, 200), make::quarters(300, 200)];
    for bytes in [make::gif(&pictures), make::animated_webp(&pictures)] {
        let kept = picture(&bytes).expect("a picture");
        assert_eq!((kept.taken.content_type, kept.sizes()), ("image/gif", vec![Size::Whole, Size::Small]));
        assert_eq!((kept.taken.width, kept.taken.height), (Some(300), Some(200)));
        let whole = kept.bytes(Size::Whole);
        let seen = frames(&whole);
        assert_eq!((seen.len(), seen[0].dimensions()), (3, (300, 200)));
        for frame in [&seen[0], &seen[2]] {
            // To one step of a colour: frames are laid over one another.
            let close = |pixel: &image::Rgba<u8>, quarter: usize| {
                make::QUARTERS[quarter].iter().zip(&pixel.0).all(|(one, other)| one.abs_diff(*other) <= 1)
            };
            assert!(close(frame.get_pixel(10, 10), 0) && close(frame.get_pixel(290, 190), 3));
        }
        assert_ne!(seen[0], seen[1]);
        let mut decoder = gif::Decoder::new(&whole[..]).expect("a GIF");
        while let Some(frame) = decoder.next_frame_info().expect("a frame") {
            assert_eq!(frame.delay, 7);
        }
        assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
        assert_eq!(Size::Small.content_type(kept.taken.content_type), "image/png");
        assert_eq!(kept.pixels(Size::Small).dimensions(), (256, 171));
        assert!(!Size::Medium.is_kept("image/gif", 5000, 5000), "the whole serves, and moves");
    }
}

#[test]
fn frames_that_lie_outside_are_cut_to_the_canvas() {
    let mut encoder = gif::Encoder::new(Vec::new(), 10, 10, &[]).expect("a header");
    for (left, top) in [(0, 0), (6, 6), (10, 3), (60_000, 60_000)] {
        let mut frame = gif::Frame::from_rgb(8, 8, make::quarters(8, 8).as_raw());
        (frame.left, frame.top) = (left, top);
        encoder.write_frame(&frame).expect("a frame");
    }
    let kept = picture(&encoder.into_inner().expect("an end")).expect("a picture");
    assert_eq!(frames(&kept.bytes(Size::Whole)).len(), 2);
}

#[test]
fn every_refusal_is_told_to_people() {
    let refusals = [
        Refused::NotAnImage,
        Refused::Broken,
        Refused::TooLarge { side: 12_000, pixels: 40_000_000 },
        Refused::TooManyFrames { max: 300 },
        Refused::TooLong { pixels: 160_000_000 },
        Refused::TooHeavy { max: 26_214_400 },
    ];
    for refused in refusals {
        let error = Error::from(refused);
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidField, Some("file")));
        for language in [Language::English, Language::French] {
            let told = error.message.told_in(language);
            assert!(told.ends_with('.') && !told.contains('{'), "{told}");
        }
    }
    let failed = Error::from(Refused::Failed("/tmp/x: no space left on device".to_owned()));
    assert_eq!(failed.code, ErrorCode::Internal);
    assert!(!failed.message.told_in(Language::English).contains("/tmp"));
}
