//! Bombs: little files that become large, and files of which there is too much.

use std::time::{Duration, Instant};

use duet::media::{Limits, Refused, Wanted};

use crate::make;
use crate::upload::{Upload, limits, picture, refusal};

/// No more than a look at the file, on however busy a machine.
const A_LOOK: Duration = Duration::from_secs(20);

#[test]
fn s43_a_png_of_60_000_by_60_000_is_refused_for_what_it_claims() {
    // Its data is none: to decode it would find that out, so nothing was decoded.
    let bomb = make::claiming_png(60_000, 60_000, &[0x5a; 20_000]);
    let begun = Instant::now();
    assert_eq!(refusal(&bomb), Refused::TooLarge { side: 12_000, pixels: 40_000_000 });
    assert!(begun.elapsed() < A_LOOK);
    // The same of one whose sides pass.
    let bomb = make::claiming_png(11_999, 11_999, &[0x5a; 20_000]);
    assert_eq!(refusal(&bomb), Refused::TooLarge { side: 12_000, pixels: 40_000_000 });
    // And one of a thousand pixels is decoded, and broken.
    assert_eq!(refusal(&make::claiming_png(100, 100, &[0x5a; 20_000])), Refused::Broken);
}

#[test]
fn s43_other_pictures_are_refused_for_what_they_claim_too() {
    let jpeg = make::claiming_jpeg(0xc0, 65_535, 800, 1_000_000);
    let gif = [&b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff"[..], &make::many_frames(1, false)[19..]];
    let webp = make::riff_chunk(b"RIFF", b"WEBPVP8L\x05\x00\x00\x00\x2f\xfe\xbf\xff\x0f\x00");
    for bytes in [jpeg, gif.concat(), webp] {
        let refused = refusal(&bytes);
        assert!(matches!(refused, Refused::TooLarge { side: 12_000, .. }), "{refused:?}");
    }
}

#[test]
fn s43_a_progressive_jpeg_counts_with_the_memory_that_it_takes() {
    // Twenty million pixels of a kind that keeps nine bytes for each; there is memory for four times forty million.
    let jpeg = |marker, data| make::claiming_jpeg(marker, 5_000, 4_000, data);
    assert_eq!(refusal(&jpeg(0xc0, 1_000)), Refused::Broken, "so little data cannot be so many pixels");
    let begun = Instant::now();
    assert_eq!(refusal(&jpeg(0xc0, 300_000)), Refused::Broken, "this one is decoded, and found to be none");
    assert!(begun.elapsed() < A_LOOK);
    let Refused::TooLarge { pixels, .. } = refusal(&jpeg(0xc2, 300_000)) else { panic!("one tried too") };
    assert!((17_000_000..18_000_000).contains(&pixels), "{pixels}");
}

#[test]
fn s43_an_animation_of_a_thousand_frames_is_refused_before_its_frames() {
    for sound in [true, false] {
        assert_eq!(refusal(&make::many_frames(1_000, sound)), Refused::TooManyFrames { max: 300 });
    }
    picture(&make::many_frames(300, true)).expect("as many as may be");
    let frame = make::quarters(2, 2);
    let webp = make::animated_webp(&vec![frame.clone(); 1_000]);
    assert_eq!(refusal(&webp), Refused::TooManyFrames { max: 300 });
    picture(&make::animated_webp(&vec![frame; 300])).expect("as many as may be");
    // Of a PNG only one frame is taken, and it counts as the others do.
    let png = make::with_chunk(&make::png(&make::quarters(2, 2)), b"acTL", &[0, 0, 3, 232, 0, 0, 0, 0]);
    assert_eq!(refusal(&png), Refused::TooManyFrames { max: 300 });
}

#[test]
fn s43_the_frames_of_an_animation_are_counted_together() {
    let limits = Limits { animation: 40 * 30 * 3, ..limits() };
    let (three, four) = (vec![make::quarters(40, 30); 3], vec![make::quarters(40, 30); 4]);
    for make in [make::gif, make::animated_webp] {
        Upload::of(&make(&three)).take(Wanted::Image, &limits).expect("three pass");
        let refused = Upload::of(&make(&four)).take(Wanted::Image, &limits).err();
        assert_eq!(refused, Some(Refused::TooLong { pixels: 3_600 }));
    }
}

#[test]
fn s43_what_is_packed_into_the_text_of_a_png_is_not_unpacked() {
    const ZEROS: usize = 256 * 1024 * 1024;
    let packed = make::bomb(ZEROS);
    let png = make::png(&make::quarters(40, 30));
    let profile = [b"bomb\0\0", &packed[..]].concat();
    let international = [b"bomb\0\x01\0\0\0", &packed[..]].concat();
    for (name, content) in [(b"iCCP", &profile), (b"zTXt", &profile), (b"iTXt", &international)] {
        let bomb = make::with_chunk(&png, name, content);
        let begun = Instant::now();
        let kept = picture(&bomb).expect("a picture");
        assert!(begun.elapsed() < A_LOOK);
        assert!(kept.taken.sizes[0].bytes < 10_000);
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the most memory so far");
        let most: usize = most.trim().trim_end_matches(" kB").parse().expect("a number");
        // Of this and all other stories so far.
        assert!(most * 1024 < ZEROS, "{most} KiB");
    }
}

#[test]
fn s43_more_bytes_than_may_be_are_refused() {
    let limits = Limits { bytes: 10_000, ..limits() };
    let refused = |bytes: &[u8], wanted| Upload::of(bytes).take(wanted, &limits).err();
    assert_eq!(refused(&[0; 10_001], Wanted::Anything), Some(Refused::TooHeavy { max: 10_000 }));
    assert_eq!(refused(&[0; 10_000], Wanted::Anything), None);
    // So is a picture that becomes larger than it came: here noise in few colours.
    let pixels: Vec<u8> = make::noise(200, 200).as_raw().iter().step_by(12).copied().collect();
    let png = make::png_of(200, 200, png::ColorType::Indexed, png::BitDepth::Two, &pixels);
    assert!(png.len() < 11_000);
    let limits = Limits { bytes: 11_000, ..limits };
    let refused = Upload::of(&png).take(Wanted::Image, &limits).err();
    assert_eq!(refused, Some(Refused::TooHeavy { max: 11_000 }));
}
