//! Voice notes, known by their containers: Ogg with Opus, and MP4 with AAC and nothing but sound. How long one lasts is
//! read from the container, which may lie about it, but not lead anybody out of the file. Not a sound is decoded: a
//! voice note is kept as it came.

use std::io::{Read, Seek, SeekFrom};

use super::{MP4, OGG};

/// A voice note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Voice {
    pub(super) content_type: &'static str,
    pub(super) duration_ms: i64,
}

/// Longer ones are files.
const LONGEST_MS: u64 = 24 * 60 * 60 * 1000;
/// The largest page of an Ogg file.
const PAGE: u64 = 65_307;
/// Samples of Opus in a millisecond.
const OPUS_PER_MS: u64 = 48;
/// Boxes of an MP4 that are looked at.
const BOXES: usize = 100_000;
/// The kinds of AAC among the codings that MPEG numbers.
const AAC: &[u8] = &[0x40, 0x66, 0x67, 0x68];

/// The voice note in a file of so many bytes, if it is one.
pub(super) fn look(first: &[u8], mut file: impl Read + Seek, bytes: u64) -> Option<Voice> {
    let (content_type, duration_ms) = match first {
        [b'O', b'g', b'g', b'S', ..] => (OGG, ogg(&mut file, bytes)?),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => (MP4, Mp4 { file, boxes: 0 }.duration(bytes)?),
        _ => return None,
    };
    let duration_ms = i64::try_from(duration_ms).ok()?;
    (1..=LONGEST_MS as i64).contains(&duration_ms).then_some(Voice { content_type, duration_ms })
}

fn take<const N: usize>(file: &mut impl Read) -> Option<[u8; N]> {
    let mut taken = [0; N];
    file.read_exact(&mut taken).ok()?;
    Some(taken)
}

/// The head of a page of an Ogg file.
struct Page {
    begins: bool,
    samples: u64,
    stream: [u8; 4],
    /// With the head.
    bytes: u64,
}

impl Page {
    fn read(file: &mut impl Read) -> Option<Page> {
        let [b'O', b'g', b'g', b'S', 0, flags] = take(file)? else { return None };
        let samples = u64::from_le_bytes(take(file)?);
        let stream = take(file)?;
        // Its number, and a checksum.
        let _: [u8; 8] = take(file)?;
        let [parts] = take(file)?;
        let mut bytes = 27 + u64::from(parts);
        for _ in 0..parts {
            let [part] = take(file)?;
            bytes += u64::from(part);
        }
        Some(Page { begins: flags & 2 != 0, samples, stream, bytes })
    }
}

/// How long an Ogg file with one stream of Opus lasts: its last page says up to which sample it goes.
fn ogg(file: &mut (impl Read + Seek), bytes: u64) -> Option<u64> {
    let first = Page::read(file)?;
    let [b'O', b'p', b'u', b's', b'H', b'e', b'a', b'd', version, channels, skip0, skip1] = take(file)? else {
        return None;
    };
    if !first.begins || version > 15 || channels == 0 {
        return None;
    }
    file.seek(SeekFrom::Start(first.bytes)).ok()?;
    let second = Page::read(file)?;
    if second.begins || second.stream != first.stream {
        return None;
    }
    // The last page begins somewhere in as many bytes as the largest has, if nothing follows it.
    let tail = bytes.min(2 * PAGE);
    file.seek(SeekFrom::Start(bytes - tail)).ok()?;
    let mut last = Vec::new();
    file.take(tail).read_to_end(&mut last).ok()?;
    let samples = (0..last.len()).rev().find_map(|place| {
        let mut rest = last[place..].starts_with(b"OggS").then_some(&last[place..])?;
        let page = Page::read(&mut rest)?;
        let whole = place as u64 + page.bytes <= last.len() as u64;
        (whole && page.stream == first.stream && page.samples != u64::MAX).then_some(page.samples)
    })?;
    let skipped = u64::from(u16::from_le_bytes([skip0, skip1]));
    Some(samples.checked_sub(skipped)?.div_ceil(OPUS_PER_MS))
}

/// A box of an MP4: its name, and where its content lies.
#[derive(Clone, Copy)]
struct Part {
    name: [u8; 4],
    begin: u64,
    end: u64,
}

/// An MP4 that is looked at.
struct Mp4<F> {
    file: F,
    /// How many boxes were seen.
    boxes: usize,
}

impl<F: Read + Seek> Mp4<F> {
    /// How long it lasts, if there is nothing but sound in AAC in it.
    fn duration(mut self, bytes: u64) -> Option<u64> {
        let parts = self.parts(0, bytes)?;
        let movie = *parts.iter().find(|part| &part.name == b"moov")?;
        let inside = self.parts(movie.begin, movie.end)?;
        let tracks: Vec<Part> = inside.iter().filter(|part| &part.name == b"trak").copied().collect();
        let mut longest = None;
        for track in &tracks {
            let (ticks, per_second) = self.track(*track)?;
            let mut ticks = if ticks == u64::from(u32::MAX) || ticks == u64::MAX { 0 } else { ticks };
            if ticks == 0 && tracks.len() == 1 {
                // Written while it was recorded: each fragment says how long it is.
                ticks = self.fragments(&inside, &parts)?;
            }
            let ms = u128::from(ticks) * 1000 / u128::from(per_second);
            longest = longest.max(u64::try_from(ms).ok());
        }
        longest
    }

    /// The boxes in a part of the file, which fill it.
    fn parts(&mut self, begin: u64, end: u64) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        let mut at = begin;
        while end.checked_sub(at)? >= 8 {
            self.boxes += 1;
            if self.boxes > BOXES {
                return None;
            }
            self.file.seek(SeekFrom::Start(at)).ok()?;
            let (length, name) = (u32::from_be_bytes(take(&mut self.file)?), take(&mut self.file)?);
            let (head, length) = match length {
                0 => (8, end - at),
                1 => (16, u64::from_be_bytes(take(&mut self.file)?)),
                length => (8, u64::from(length)),
            };
            if length < head || length > end - at {
                return None;
            }
            parts.push(Part { name, begin: at + head, end: at + length });
            at += length;
        }
        Some(parts)
    }

    /// The box at the end of a path of names.
    fn find(&mut self, mut part: Part, path: &[&[u8; 4]]) -> Option<Part> {
        for name in path {
            part = *self.parts(part.begin, part.end)?.iter().find(|part| part.name == **name)?;
        }
        Some(part)
    }

    /// Goes into a box, by so many bytes.
    fn enter(&mut self, part: Part, skip: u64) -> Option<std::io::Take<&mut F>> {
        let begin = part.begin.checked_add(skip)?;
        self.file.seek(SeekFrom::Start(begin)).ok()?;
        Some(self.file.by_ref().take(part.end.checked_sub(begin)?))
    }

    /// How long a track of sound is, in ticks, and how many of them make a second.
    fn track(&mut self, track: Part) -> Option<(u64, u32)> {
        let media = self.find(track, &[b"mdia"])?;
        let handler = self.find(media, &[b"hdlr"])?;
        if take(&mut self.enter(handler, 8)?)? != *b"soun" || !self.is_aac(media)? {
            return None;
        }
        let head = self.find(media, &[b"mdhd"])?;
        let mut read = self.enter(head, 0)?;
        let [version, ..] = take::<4>(&mut read)?;
        let (per_second, ticks) = if version == 1 {
            let _: [u8; 16] = take(&mut read)?;
            (u32::from_be_bytes(take(&mut read)?), u64::from_be_bytes(take(&mut read)?))
        } else {
            let _: [u8; 8] = take(&mut read)?;
            (u32::from_be_bytes(take(&mut read)?), u64::from(u32::from_be_bytes(take(&mut read)?)))
        };
        (per_second > 0).then_some((ticks, per_second))
    }

    /// Whether the samples of a track are AAC, as its first description says.
    fn is_aac(&mut self, media: Part) -> Option<bool> {
        let descriptions = self.find(media, &[b"minf", b"stbl", b"stsd"])?;
        let entry = *self.parts(descriptions.begin.checked_add(8)?, descriptions.end)?.first()?;
        let [_, version] = take(&mut self.enter(entry, 8)?)?;
        // The description of sound has a fixed length, and another one as QuickTime writes it.
        let fixed = if version == 1 { 44 } else { 28 };
        let inside = self.parts(entry.begin.checked_add(fixed)?, entry.end)?;
        let coding = *inside.iter().find(|part| &part.name == b"esds")?;
        let mut read = self.enter(coding, 4)?;
        descriptor(&mut read, 3)?;
        let [_, _, flags] = take(&mut read)?;
        if flags & 0xe0 != 0 {
            return None;
        }
        descriptor(&mut read, 4)?;
        let [coding] = take(&mut read)?;
        Some(&entry.name == b"mp4a" && AAC.contains(&coding))
    }

    /// The ticks of all fragments.
    fn fragments(&mut self, movie: &[Part], parts: &[Part]) -> Option<u64> {
        let extends = *movie.iter().find(|part| &part.name == b"mvex")?;
        let defaults = self.find(extends, &[b"trex"])?;
        let default = u32::from_be_bytes(take(&mut self.enter(defaults, 12)?)?);
        let mut ticks = 0_u64;
        for fragment in parts.iter().filter(|part| &part.name == b"moof") {
            let track = self.find(*fragment, &[b"traf"])?;
            let inside = self.parts(track.begin, track.end)?;
            let head = *inside.iter().find(|part| &part.name == b"tfhd")?;
            let mut read = self.enter(head, 0)?;
            let flags = u32::from_be_bytes(take(&mut read)?);
            // Before it: the track, and three values that may be left out.
            let before = 4 + u64::from(flags & 1) * 8 + u64::from(flags >> 1 & 1) * 4;
            let told = flags & 8 != 0;
            let default = if told { u32::from_be_bytes(take(&mut self.enter(head, 4 + before)?)?) } else { default };
            for run in inside.iter().filter(|part| &part.name == b"trun") {
                ticks = ticks.checked_add(self.run(*run, default)?)?;
            }
        }
        Some(ticks)
    }

    /// The ticks of a run of samples.
    fn run(&mut self, run: Part, default: u32) -> Option<u64> {
        let mut read = std::io::BufReader::new(self.enter(run, 0)?);
        let flags = u32::from_be_bytes(take(&mut read)?);
        let samples = u32::from_be_bytes(take(&mut read)?);
        if flags & 0x100 == 0 {
            return Some(u64::from(samples) * u64::from(default));
        }
        for _ in 0..(flags & 1) + (flags >> 2 & 1) {
            let _: [u8; 4] = take(&mut read)?;
        }
        let others = (flags >> 9 & 1) + (flags >> 10 & 1) + (flags >> 11 & 1);
        let mut ticks = 0_u64;
        // Each sample takes bytes of the run, so a false number of them ends with it.
        for _ in 0..samples {
            ticks += u64::from(u32::from_be_bytes(take(&mut read)?));
            for _ in 0..others {
                let _: [u8; 4] = take(&mut read)?;
            }
        }
        Some(ticks)
    }
}

/// The head of a descriptor: its tag, and a length of up to four bytes.
fn descriptor(read: &mut impl Read, tag: u8) -> Option<()> {
    let [found] = take(read)?;
    for _ in 0..4 {
        let [length] = take(read)?;
        if length & 0x80 == 0 {
            return (found == tag).then_some(());
        }
    }
    None
}
