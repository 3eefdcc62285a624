//! Files that are something else than they seem.

use duet::media::{Kind, Refused, Size, Wanted};

use crate::make;
use crate::upload::{Upload, anything, limits, picture, refusal};

const SCRIPT: &[u8] = b"*/=1;alert(document.cookie)//";
const PAGE: &[u8] = b"<!DOCTYPE html><html><script>alert(1)</script></html>";

#[test]
fn s42_a_gif_that_is_a_script_comes_out_as_pixels() {
    // Its comment is the script, and so is what follows its end.
    let gif = make::gif(&[make::quarters(40, 30)]);
    let comment = [b"!\xfe", &[SCRIPT.len() as u8][..], SCRIPT, b"\x00"].concat();
    let table = 13 + if gif[10] & 0x80 == 0 { 0 } else { 3 << ((gif[10] & 7) + 1) };
    let polyglot = [&gif[..table], &comment, &gif[table..], SCRIPT].concat();
    let kept = picture(&polyglot).expect("a picture");
    assert_eq!((kept.taken.kind, kept.taken.content_type), (Kind::Image, "image/jpeg"));
    assert!(!kept.tells(b"alert"));
}

#[test]
fn s42_an_animation_tells_nothing_in_its_tables_of_colours() {
    // A script in the colours that no pixel has.
    let frames: Vec<_> = (1..4).map(|step| make::quarters(40 + step - step, 30)).collect();
    let mut encoder = gif::Encoder::new(Vec::new(), 40, 30, &[]).expect("a header");
    for picture in &frames {
        let mut frame = gif::Frame::from_rgb(40, 30, picture.as_raw());
        let palette = frame.palette.as_mut().expect("a table");
        palette.extend(SCRIPT);
        palette.resize(palette.len().next_multiple_of(3), 0);
        encoder.write_frame(&frame).expect("a frame");
    }
    let gif = encoder.into_inner().expect("an end");
    assert!(gif.windows(SCRIPT.len()).any(|part| part == SCRIPT));
    let kept = picture(&gif).expect("a picture");
    assert_eq!(kept.taken.content_type, "image/gif");
    assert!(!kept.tells(b"alert"));
}

#[test]
fn s42_a_jpeg_that_is_an_archive_comes_out_as_pixels() {
    let archive = b"PK\x03\x04evil.html<script>alert(1)</script>PK\x05\x06";
    for sound in
        [make::jpeg(&make::quarters(40, 30)), make::png(&make::quarters(40, 30)), make::webp(&make::quarters(40, 30))]
    {
        let kept = picture(&[&sound[..], archive].concat()).expect("a picture");
        assert!(!kept.tells(b"PK\x03\x04") && !kept.tells(b"evil.html"));
    }
}

#[test]
fn s42_a_page_is_no_picture_and_as_a_file_has_no_type_that_runs() {
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>"#;
    let svg_with_head = [b"<?xml version=\"1.0\"?>\n", &svg[..]].concat();
    // With the first bytes of a picture further on, where a browser that guesses might look.
    let late = [b"\n\n", &make::png(&make::quarters(4, 4))[..]].concat();
    for bytes in [PAGE, svg, &svg_with_head, &late, b"", b"\xff\xd8", b"GIF90a", b"%PDF-1.7"] {
        assert_eq!(refusal(bytes), Refused::NotAnImage);
        let kept = anything(bytes).expect("a file");
        assert_eq!((kept.taken.kind, kept.taken.content_type), (Kind::File, "application/octet-stream"));
        assert_eq!(kept.bytes(Size::Whole), bytes);
    }
    // What begins as sound has the type of sound, which does not run either.
    let wave = b"RIFF\0\0\0\0WAVE";
    assert_eq!(refusal(wave), Refused::NotAnImage);
    assert_eq!(anything(wave).expect("a file").taken.content_type, "audio/wav");
}

#[test]
fn s42_what_begins_as_a_picture_and_is_a_page_is_neither() {
    for first in [&b"\xff\xd8\xff"[..], b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\x20\0\0\0WEBP"] {
        let bytes = [first, PAGE].concat();
        assert_eq!(refusal(&bytes), Refused::Broken);
        // Not even as a file: nobody sends this by mistake.
        assert_eq!(anything(&bytes).err(), Some(Refused::Broken));
    }
}

#[test]
fn s42_neither_name_nor_type_is_asked() {
    // A PNG in a file that is called otherwise is a PNG.
    let upload = Upload::of(b"");
    let named = upload.path().with_file_name("page.html");
    std::fs::write(&named, make::png(&make::quarters(8, 8))).expect("it is written");
    let taken = duet::media::gate::take(&named, &upload.kept(), Wanted::Image, &limits()).expect("a picture");
    assert_eq!((taken.kind, taken.content_type), (Kind::Image, "image/jpeg"));
}

#[test]
fn s42_a_size_never_has_a_type_that_runs() {
    for told in ["text/html", "image/svg+xml", "application/xml", "", "image/JPEG", "video/unheard-of"] {
        for size in [Size::Whole, Size::Medium, Size::Small] {
            assert_eq!(size.content_type(told), "application/octet-stream");
        }
    }
}
