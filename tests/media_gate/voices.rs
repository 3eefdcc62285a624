//! Voice notes, and what only looks like one.

use duet::media::{Kind, Size};

use crate::make;
use crate::upload::anything;

/// A page of an Ogg file.
pub(crate) fn page(flags: u8, samples: u64, stream: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = [b"OggS\0", &[flags][..], &samples.to_le_bytes(), &stream.to_le_bytes(), &[0; 8]].concat();
    let parts = content.len() / 255 + 1;
    bytes.push(parts as u8);
    bytes.extend(vec![255; parts - 1]);
    bytes.push((content.len() % 255) as u8);
    bytes.extend(content);
    bytes
}

fn head() -> Vec<u8> {
    // One channel, 312 samples to skip, recorded at 48,000 a second.
    b"OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00".to_vec()
}

/// A voice note in Opus that goes up to this sample.
pub(crate) fn opus(samples: u64) -> Vec<u8> {
    let tags = b"OpusTags\x04\x00\x00\x00duet\x00\x00\x00\x00";
    let mut bytes = [page(2, 0, 7, &head()), page(0, 0, 7, tags)].concat();
    for part in 1..=40 {
        bytes.extend(page(0, samples / 41 * part, 7, &[0x5a; 3_000]));
    }
    [bytes, page(4, samples, 7, &[0x5a; 100])].concat()
}

fn part(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat()
}

/// How a track of an MP4 says that it is AAC, or whatever this coding is.
fn description(coding: u8) -> Vec<u8> {
    let decoder = [&[4, 0x80, 0x80, 0x80, 15, coding][..], &[0; 14]].concat();
    let stream = [&[3, 22, 0, 1, 0][..], &decoder].concat();
    let entry = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 20], &part(b"esds", &[&[0; 4], &stream[..]].concat())].concat();
    part(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1][..], &part(b"mp4a", &entry)].concat())
}

fn track(handler: &[u8; 4], coding: u8, ticks: u32) -> Vec<u8> {
    let head = [&[0; 12][..], &44_100_u32.to_be_bytes(), &ticks.to_be_bytes(), &[0; 4]].concat();
    let kind = [&[0; 8][..], handler, &[0; 13]].concat();
    let samples = part(b"minf", &part(b"stbl", &description(coding)));
    part(b"trak", &part(b"mdia", &[part(b"mdhd", &head), part(b"hdlr", &kind), samples].concat()))
}

fn movie(inside: &[Vec<u8>]) -> Vec<u8> {
    [
        part(b"ftyp", b"M4A \0\0\0\0M4A mp42"),
        part(b"free", b""),
        part(b"moov", &inside.concat()),
        part(b"mdat", &[7; 5_000]),
    ]
    .concat()
}

/// A voice note in AAC of so many ticks of 44,100 in a second.
pub(crate) fn aac(ticks: u32) -> Vec<u8> {
    movie(&[part(b"mvhd", &[0; 100]), track(b"soun", 0x40, ticks)])
}

/// One that was written while it was recorded: what is said of its length comes with its fragments.
pub(crate) fn fragmented(fragments: u32) -> Vec<u8> {
    let extends = part(b"mvex", &part(b"trex", &[&[0; 12][..], &1024_u32.to_be_bytes(), &[0; 8]].concat()));
    let mut bytes = movie(&[part(b"mvhd", &[0; 100]), track(b"soun", 0x40, 0), extends]);
    for _ in 0..fragments {
        // 43 samples of the usual 1,024 ticks, then two that say how long they are.
        let usual = part(b"trun", &[0, 0, 0, 0, 0, 0, 0, 43]);
        let told = [&[0, 0, 3, 1, 0, 0, 0, 2, 0, 0, 0, 0][..], &[0, 0, 0, 34, 0, 0, 0, 9], &[0, 0, 0, 34, 0, 0, 0, 9]];
        let inside = [part(b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 1]), usual, part(b"trun", &told.concat())].concat();
        bytes.extend(part(b"moof", &[part(b"mfhd", &[0; 8]), part(b"traf", &inside)].concat()));
        bytes.extend(part(b"mdat", &[7; 500]));
    }
    bytes
}

#[track_caller]
fn is_voice(bytes: &[u8], content_type: &str, duration_ms: i64) {
    let kept = anything(bytes).expect("it comes in");
    assert_eq!((kept.taken.kind, kept.taken.content_type), (Kind::Voice, content_type));
    assert_eq!(kept.taken.duration_ms, Some(duration_ms));
    assert_eq!(kept.bytes(Size::Whole), bytes, "as it came");
}

#[track_caller]
fn is_file(bytes: &[u8]) {
    let kept = anything(bytes).expect("it comes in");
    assert_eq!(kept.taken.kind, Kind::File);
    let media = kept.taken.content_type;
    assert!(matches!(media, "application/octet-stream" | "audio/ogg" | "audio/mp4" | "audio/wav"), "{media}");
    assert_eq!(kept.taken.duration_ms, None);
}

#[test]
fn a_voice_note_says_how_long_it_is() {
    is_voice(&opus(48_000 * 12 + 312), "audio/ogg", 12_000);
    is_voice(&aac(44_100 * 7), "audio/mp4", 7_000);
    // 44,100 ticks and as many again in each second fragment: 43 * 1,024 + 2 * 34.
    is_voice(&fragmented(5), "audio/mp4", 5_000);
}

#[test]
fn other_sounds_and_films_are_files() {
    let film = movie(&[track(b"soun", 0x40, 44_100), track(b"vide", 0x40, 44_100)]);
    let mp3 = movie(&[track(b"soun", 0x6b, 44_100)]);
    let none = movie(&[]);
    let vorbis = [page(2, 0, 7, b"\x01vorbis"), page(0, 0, 7, b"x"), page(4, 48_000, 7, b"x")].concat();
    let two_streams = [page(2, 0, 7, &head()), page(2, 0, 8, b"\x80theora"), page(4, 48_000, 7, b"x")].concat();
    for bytes in [film, mp3, none, vorbis, two_streams] {
        is_file(&bytes);
    }
}

#[test]
fn a_voice_note_that_lies_about_itself_is_a_file() {
    // It lasts no time, a day and more, or ends before it began.
    for samples in [0, 312, 48_000 * 90_000, u64::MAX, u64::MAX - 1] {
        is_file(&opus(samples));
    }
    is_file(&aac(0));
    is_file(&movie(&[track(b"soun", 0x40, 44_100)])[..60]);
    // A box within a box that is longer than it, shorter than its own head, or as long as a number can be.
    let sound = aac(44_100);
    let media = sound.windows(4).position(|name| name == b"mdia").expect("a box");
    for length in [0_u32, 1, 7, u32::MAX] {
        let mut bytes = sound.clone();
        bytes[media - 4..media].copy_from_slice(&length.to_be_bytes());
        // The rest of its own box is what a length of nothing means.
        if length == 0 { is_voice(&bytes, "audio/mp4", 1_000) } else { is_file(&bytes) }
    }
    // Fragments that claim more samples than they have bytes.
    let mut bytes = fragmented(1);
    let run = bytes.windows(4).rposition(|name| name == b"trun").expect("a run");
    bytes[run + 8..run + 12].copy_from_slice(&[0xff; 4]);
    is_file(&bytes);
}

#[test]
fn what_follows_a_voice_note_does_not_change_it() {
    let sound = opus(48_000 + 312);
    let page = b"<script>alert(1)</script>";
    is_voice(&[&sound[..], page].concat(), "audio/ogg", 1_000);
    is_file(&[page, &sound[..]].concat());
    is_file(&make::riff_chunk(b"RIFF", b"WAVEfmt "));
}
