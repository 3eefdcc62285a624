//! Whatever comes: random bytes, and sound files in which something was changed.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use duet::media::{Kind, Limits, Size, Wanted};
use proptest::prelude::*;

use crate::upload::Upload;
use crate::{make, voices};

/// Small, so that whatever gets past them would be seen.
const LIMITS: Limits = Limits { bytes: 300_000, side: 400, pixels: 60_000, frames: 12, animation: 200_000 };
/// Far longer than any of these takes, so that a loop without an end is found.
const AT_MOST: Duration = Duration::from_secs(60);

static SOUND: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let (quarters, noise) = (make::quarters(60, 40), make::noise(50, 30));
    let exif = make::exif(6, b"somewhere");
    let chunks = [(b"VP8L", make::coded(&make::webp(&quarters))[8..].to_vec()), (b"EXIF", exif.clone())];
    vec![
        make::jpeg(&noise),
        make::with_segment(&make::jpeg(&quarters), 0xe1, &[b"Exif\0\0", &exif[..]].concat()),
        make::grey_jpeg(30, 30),
        PROGRESSIVE.to_vec(),
        make::png(&noise),
        make::with_chunk(&make::clear_png(&make::glass(60, 40)), b"eXIf", &exif),
        make::with_chunk(&make::png(&quarters), b"zTXt", &make::bomb(100_000)),
        make::webp(&noise),
        make::clear_webp(&make::glass(60, 40)),
        make::extended_webp(8, 60, 40, &chunks),
        make::animated_webp(&[quarters.clone(), make::noise(60, 40), quarters.clone()]),
        LOSSY.to_vec(),
        make::gif(std::slice::from_ref(&noise)),
        make::gif(&[quarters.clone(), make::noise(60, 40)]),
        make::many_frames(12, true),
        voices::opus(480_312),
        voices::aac(44_100),
        voices::fragmented(3),
    ]
});

/// Takes it, and holds what is kept against the limits. Whether it is refused is all the same.
fn take(bytes: &[u8], wanted: Wanted) {
    let begun = Instant::now();
    let result = Upload::of(bytes).take(wanted, &LIMITS);
    assert!(begun.elapsed() < AT_MOST);
    let Ok(kept) = result else { return };
    if kept.taken.kind != Kind::Image {
        assert!(wanted == Wanted::Anything && kept.bytes(Size::Whole) == bytes);
        return;
    }
    let (width, height) = (kept.taken.width.expect("a width"), kept.taken.height.expect("a height"));
    assert!(width.max(height) <= LIMITS.side && u64::from(width * height) <= LIMITS.pixels);
    for stored in &kept.taken.sizes {
        assert!(stored.bytes <= LIMITS.bytes);
        let (across, down) = kept.pixels(stored.size).dimensions();
        assert!(across.max(down) <= stored.size.side().unwrap_or(LIMITS.side));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_well(
        first in prop::sample::select(vec![
            &b"\xff\xd8\xff"[..], b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\xff\0\0\0WEBP", b"OggS\0\x02", b"\0\0\0\x10ftyp", b"",
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        take(&[first, &rest].concat(), Wanted::Anything);
    }

    #[test]
    fn changed_bytes_end_well(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = which.get(&SOUND).clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate(end.map_or(bytes.len(), |end| end.index(bytes.len())));
        take(&bytes, Wanted::Image);
    }

    #[test]
    fn heads_with_other_numbers_end_well(
        which in any::<prop::sample::Index>(),
        place in 0_usize..80,
        number in prop::sample::select(vec![0_u32, 1, 0x7f, 0x80, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]),
        width in 1_usize..=4,
        little in any::<bool>(),
    ) {
        let mut bytes = which.get(&SOUND).clone();
        let number = if little { number.to_le_bytes()[..width].to_vec() } else { number.to_be_bytes()[4 - width..].to_vec() };
        bytes.splice(place..place + width, number);
        take(&bytes, Wanted::Anything);
    }

    #[test]
    fn parts_of_two_files_end_well(
        (one, other) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        (end, begin) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let (one, other) = (one.get(&SOUND), other.get(&SOUND));
        let bytes = [&one[..end.index(one.len())], &other[begin.index(other.len())..]].concat();
        take(&bytes, Wanted::Anything);
    }
}

#[test]
fn they_are_sound_before_they_are_changed() {
    for (number, bytes) in SOUND.iter().enumerate() {
        let kept = Upload::of(bytes).take(Wanted::Anything, &LIMITS);
        let kind = kept.map(|kept| kept.taken.kind);
        let expected = if number + 3 < SOUND.len() { Kind::Image } else { Kind::Voice };
        assert_eq!(kind, Ok(expected), "the one with number {number}");
    }
}

/// A progressive JPEG of 24 by 16 pixels, with colours of a quarter of that; no encoder here makes one.
#[rustfmt::skip]
const PROGRESSIVE: &[u8] = &[
    255, 216, 255, 224, 0, 16, 74, 70, 73, 70, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 255, 219, 0, 67,
    0, 20, 14, 15, 18, 15, 13, 20, 18, 16, 18, 23, 21, 20, 24, 30, 50, 33, 30, 28, 28, 30, 61, 44,
    46, 36, 50, 73, 64, 76, 75, 71, 64, 70, 69, 80, 90, 115, 98, 80, 85, 109, 86, 69, 70, 100, 136, 101,
    109, 119, 123, 129, 130, 129, 78, 96, 141, 151, 140, 125, 150, 115, 126, 129, 124, 255, 219, 0, 67, 1, 21, 23,
    23, 30, 26, 30, 59, 33, 33, 59, 124, 83, 70, 83, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124,
    124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124,
    124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 124, 255, 194, 0, 17, 8, 0, 16, 0, 24, 3,
    1, 34, 0, 2, 17, 1, 3, 17, 1, 255, 196, 0, 23, 0, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 3, 4, 5, 255, 196, 0, 23, 1, 0, 3, 1, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 2, 3, 4, 255, 218, 0, 12, 3, 1, 0, 2, 16, 3, 16, 0, 0,
    1, 206, 109, 47, 154, 74, 104, 6, 207, 255, 196, 0, 23, 16, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 1, 2, 18, 255, 218, 0, 8, 1, 1, 0, 1, 5, 2, 82, 40, 20, 10,
    69, 6, 79, 255, 196, 0, 23, 17, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 2, 3, 33, 255, 218, 0, 8, 1, 3, 1, 1, 63, 1, 74, 139, 92, 63, 255, 196, 0, 24, 17, 1,
    1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 17, 49, 255, 218, 0, 8,
    1, 2, 1, 1, 63, 1, 29, 203, 129, 219, 255, 196, 0, 20, 16, 1, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 32, 255, 218, 0, 8, 1, 1, 0, 6, 63, 2, 95, 255, 196, 0, 23, 16,
    0, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 17, 32, 255, 218, 0, 8,
    1, 1, 0, 1, 63, 33, 202, 28, 160, 255, 218, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 0, 16, 116,
    63, 255, 196, 0, 22, 17, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    17, 255, 218, 0, 8, 1, 3, 1, 1, 63, 16, 205, 83, 255, 196, 0, 23, 17, 0, 3, 1, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 17, 33, 255, 218, 0, 8, 1, 2, 1, 1, 63, 16,
    43, 8, 218, 127, 255, 196, 0, 24, 16, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 97, 1, 17, 33, 255, 218, 0, 8, 1, 1, 0, 1, 63, 16, 138, 8, 162, 131, 31, 28, 238, 191,
    255, 217,
];

/// A lossy WebP of the same, which no encoder here makes either.
#[rustfmt::skip]
const LOSSY: &[u8] = &[
    82, 73, 70, 70, 102, 0, 0, 0, 87, 69, 66, 80, 86, 80, 56, 32, 90, 0, 0, 0, 208, 3, 0, 157,
    1, 42, 24, 0, 16, 0, 63, 57, 138, 186, 83, 180, 169, 165, 162, 176, 8, 2, 144, 39, 9, 108, 0, 157,
    50, 132, 112, 0, 130, 74, 182, 157, 180, 44, 68, 0, 254, 249, 82, 117, 205, 230, 26, 101, 36, 178, 196, 5,
    220, 173, 207, 129, 190, 204, 170, 205, 180, 3, 158, 93, 61, 214, 181, 7, 223, 79, 84, 121, 89, 69, 64, 75,
    154, 242, 157, 185, 128, 106, 166, 121, 254, 103, 227, 73, 0, 0,
];
