//! Pictures that do not go on to their end.

use duet::media::Refused;

use crate::make;
use crate::upload::{anything, picture, refusal};

#[test]
fn s42_a_picture_without_its_end_is_refused() {
    let noise = make::noise(64, 48);
    for whole in [make::jpeg(&noise), make::png(&noise), make::webp(&noise), make::gif(std::slice::from_ref(&noise))] {
        picture(&whole).expect("whole, it passes");
        for end in [whole.len() - 50, whole.len() * 9 / 10, whole.len() / 2, whole.len() / 10, 14, 12] {
            assert_eq!(refusal(&whole[..end]), Refused::Broken, "{end} bytes of {}", whole.len());
            assert_eq!(anything(&whole[..end]).err(), Some(Refused::Broken), "nor is it a file");
        }
    }
}

#[test]
fn s42_an_end_that_comes_too_early_does_not_help() {
    let noise = make::noise(64, 48);
    let png = make::png(&noise);
    // The data of the picture, half of it, with a sound checksum.
    let half =
        [&png[..33], &make::png_chunk(b"IDAT", &png[41..png.len() / 2]), &make::png_chunk(b"IEND", b"")].concat();
    assert_eq!(refusal(&half), Refused::Broken);
    let gif = make::gif(std::slice::from_ref(&noise));
    assert_eq!(refusal(&[&gif[..gif.len() / 2], b"\x00;"].concat()), Refused::Broken);
    let webp = make::webp(&noise);
    let coded = &webp[20..webp.len() / 2];
    let half = make::riff_chunk(b"RIFF", &[b"WEBP", &make::riff_chunk(b"VP8L", coded)[..]].concat());
    assert_eq!(refusal(&half), Refused::Broken);
}

#[test]
fn s42_a_picture_without_pixels_is_refused() {
    let nothing = make::claiming_png(0, 5, b"");
    assert_eq!(refusal(&nothing), Refused::Broken);
    assert_eq!(refusal(b"GIF89a\x05\x00\x05\x00\x00\x00\x00;"), Refused::Broken);
    assert_eq!(refusal(b"\xff\xd8\xff\xd9"), Refused::Broken);
    assert_eq!(refusal(&make::riff_chunk(b"RIFF", b"WEBP")), Refused::Broken);
    assert_eq!(refusal(&make::extended_webp(0, 5, 5, &[])), Refused::Broken);
}

#[test]
fn s43_a_frame_that_says_another_size_than_its_canvas_is_refused() {
    // 16,383 pixels on each side, lossy and lossless, on a canvas of ten: the memory would be that of the greater one.
    let lossy = b"\x10\x00\x00\x9d\x01\x2a\xff\x3f\xff\x3f and data".to_vec();
    let lossless = b"\x2f\xfe\xbf\xff\x0f and data".to_vec();
    for (name, content) in [(b"VP8 ", lossy), (b"VP8L", lossless)] {
        assert_eq!(refusal(&make::extended_webp(0, 10, 10, &[(name, content.clone())])), Refused::Broken);
        let frame = [&[0; 6][..], &[9, 0, 0, 9, 0, 0, 50, 0, 0, 0], &make::riff_chunk(name, &content)].concat();
        let chunks = [(b"ANIM", vec![0; 6]), (b"ANMF", frame)];
        assert_eq!(refusal(&make::extended_webp(2, 10, 10, &chunks)), Refused::Broken);
    }
}
