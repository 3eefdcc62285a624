//! Cuts the long frames of a client into short ones on their way in. The WebSocket library keeps a read buffer as large
//! as the longest frame that it has read; so it is shown no long ones. A message stays the same whatever its frames are.

/// Longest content of a frame, in bytes, that is passed on as it is, and of the pieces of longer ones. A multiple of 4, so
/// that the mask of a frame fits each of its pieces.
pub(super) const PIECE: usize = 1024;

/// Longest header of a frame: two bytes, a length of eight, a mask of four.
const HEADER_MAX: usize = 14;
/// The bit of the last frame of a message.
const FINAL: u8 = 0x80;
/// The bits that say what a frame is. Zero goes on with a message.
const KIND: u8 = 0x0f;
/// The bit of the frames that are no part of a message: close, ping, pong.
const CONTROL: u8 = 0x08;
/// The bit of a frame with a mask.
const MASKED: u8 = 0x80;

/// A frame is longer than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Where in its frames a client is.
#[derive(Debug)]
pub(super) struct Cutter {
    /// The header of the next frame as far as it has come, or the one of the frame whose content is passing.
    header: [u8; HEADER_MAX],
    have: usize,
    /// Bytes of content that are to come.
    left: u64,
    /// Those of them until the next header that is written here.
    until_header: u64,
    frame_max: u64,
}

impl Cutter {
    /// At the beginning of a frame. No frame may have more content than `frame_max` bytes.
    pub(super) fn new(frame_max: usize) -> Cutter {
        Cutter { header: [0; HEADER_MAX], have: 0, left: 0, until_header: 0, frame_max: frame_max as u64 }
    }

    /// How many bytes were taken and not passed on, as the header they belong to is not complete.
    pub(super) fn withheld(&self) -> usize {
        if self.left == 0 { self.have } else { 0 }
    }

    /// Passes bytes on, long frames in pieces.
    ///
    /// # Errors
    /// Where a frame begins that is too long; all before it was passed on.
    pub(super) fn pass(&mut self, mut bytes: &[u8], mut on: impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(byte) = bytes.first() {
            if self.left > 0 {
                let count = bytes.len().min(usize::try_from(self.until_header).unwrap_or(usize::MAX));
                let (content, rest) = bytes.split_at(count);
                on(content);
                bytes = rest;
                self.left -= count as u64;
                self.until_header -= count as u64;
                if self.left > 0 && self.until_header == 0 {
                    self.next_piece(0, &mut on);
                } else if self.left == 0 {
                    self.have = 0;
                }
                continue;
            }
            self.header[self.have] = *byte;
            self.have += 1;
            bytes = &bytes[1..];
            if self.have >= 2 && self.have == self.header_len() {
                self.begin(&mut on)?;
            }
        }
        Ok(())
    }

    /// The header is complete: passes it on, or that of the first piece.
    fn begin(&mut self, on: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        self.left = match self.header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => self.header[2..10].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        if self.left > self.frame_max {
            return Err(TooLong);
        }
        if self.left > PIECE as u64 && self.header[0] & CONTROL == 0 {
            self.next_piece(self.header[0] & KIND, on);
        } else {
            on(&self.header[..self.have]);
            self.until_header = self.left;
            self.have = if self.left == 0 { 0 } else { self.have };
        }
        Ok(())
    }

    /// Writes the header of the next piece of a long frame.
    fn next_piece(&mut self, kind: u8, on: &mut impl FnMut(&[u8])) {
        self.until_header = self.left.min(PIECE as u64);
        let last = if self.until_header == self.left { FINAL } else { 0 };
        // What is neither the kind nor this bit is reserved, and refused above when it is seen.
        let reserved = self.header[0] & !(FINAL | KIND);
        let first = reserved | kind | (self.header[0] & last);
        let masked = self.header[1] & MASKED;
        // A piece fits the length of two bytes, and has it even where one would do.
        let [high, low] = (self.until_header as u16).to_be_bytes();
        on(&[first, masked | 126, high, low]);
        on(&self.header[self.have - self.mask_len()..self.have]);
    }

    fn mask_len(&self) -> usize {
        if self.header[1] & MASKED == 0 { 0 } else { 4 }
    }

    fn header_len(&self) -> usize {
        let length = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + self.mask_len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a client writes it.
    fn frame(first: u8, content: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let masked = if mask.is_some() { MASKED } else { 0 };
        let mut bytes = vec![first];
        match content.len() {
            len @ 0..126 => bytes.push(masked | len as u8),
            len @ 126..65_536 => bytes.extend([&[masked | 126][..], &(len as u16).to_be_bytes()].concat()),
            len => bytes.extend([&[masked | 127][..], &(len as u64).to_be_bytes()].concat()),
        }
        bytes.extend(mask.iter().flatten());
        let mask = mask.unwrap_or_default();
        bytes.extend(content.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// The frames of a stream of bytes: the first byte and the content, without its mask.
    fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while bytes.len() >= 2 {
            let (begin, len) = match bytes[1] & !MASKED {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight")) as usize),
                short => (2, usize::from(short)),
            };
            let (mask, begin) = match bytes[1] & MASKED {
                0 => ([0; 4], begin),
                _ => (bytes[begin..begin + 4].try_into().expect("four"), begin + 4),
            };
            let content = bytes[begin..begin + len].iter().zip(mask.iter().cycle());
            frames.push((bytes[0], content.map(|(byte, mask)| byte ^ mask).collect()));
            bytes = &bytes[begin + len..];
        }
        assert!(bytes.is_empty(), "half a frame");
        frames
    }

    /// Long frames as they may be cut: joined again to the frames that they came from.
    fn joined(pieces: Vec<(u8, Vec<u8>)>) -> Vec<(u8, Vec<u8>)> {
        let mut whole: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut room_for = Vec::new();
        for (first, content) in pieces {
            assert!(content.len() <= PIECE || first & CONTROL != 0, "a piece of {} bytes", content.len());
            match room_for.last() {
                // Goes on with a frame of which only full pieces came.
                Some(true) if first & KIND == 0 => {
                    let last = whole.last_mut().expect("it began");
                    last.0 |= first & FINAL;
                    last.1.extend(&content);
                }
                _ => whole.push((first, content.clone())),
            }
            room_for.push(content.len() == PIECE && first & FINAL == 0);
        }
        whole
    }

    proptest! {
        #[test]
        fn n09_messages_are_the_same_after_their_frames_were_cut(
            sent in prop::collection::vec((0..6_u8, 0..5_000_usize, any::<Option<[u8; 4]>>()), 1..12),
            steps in prop::collection::vec(1..3_000_usize, 1..40),
        ) {
            // No frame whose length is a multiple of a piece's: joined ones could not be told apart below.
            let length = |len: usize| if len > 0 && len.is_multiple_of(PIECE) { len + 1 } else { len };
            let kinds = [0x81, 0x82, 0x01, 0x00, 0x80, 0xc1];
            let content = |len: usize| (0..length(len)).map(|at| (at * 7) as u8).collect::<Vec<_>>();
            let wanted: Vec<(u8, Vec<u8>)> =
                sent.iter().map(|(kind, len, _)| (kinds[usize::from(*kind)], content(*len))).collect();
            let bytes: Vec<u8> = wanted.iter().zip(&sent)
                .flat_map(|((first, content), (_, _, mask))| frame(*first, content, *mask)).collect();
            let (mut cutter, mut passed) = (Cutter::new(1 << 20), Vec::new());
            let (mut rest, mut steps) = (bytes.as_slice(), steps.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*steps.next().expect("endless")));
                let before = passed.len() + cutter.withheld();
                cutter.pass(now, |bytes| passed.extend_from_slice(bytes)).expect("not too long");
                // What is passed on is at most what came, and the headers of pieces.
                prop_assert!(passed.len() + cutter.withheld() <= before + now.len() + 8 * (now.len() / PIECE + 2));
                rest = later;
            }
            prop_assert_eq!(cutter.withheld(), 0);
            prop_assert_eq!(joined(frames(&passed)), wanted);
        }
    }

    #[test]
    fn a_frame_that_is_too_long_stops_all_and_what_came_before_is_passed_on() {
        let (short, long) = (frame(0x81, b"{}", Some([1; 4])), frame(0x81, &[0; 101], Some([1; 4])));
        let mut passed = Vec::new();
        let outcome = Cutter::new(100).pass(&[short.clone(), long].concat(), |bytes| passed.extend_from_slice(bytes));
        assert_eq!((outcome, passed), (Err(TooLong), short));
    }

    #[test]
    fn the_frames_of_a_ping_are_never_cut() {
        let ping = frame(0x89, &[7; 2 * PIECE], Some([1, 2, 3, 4]));
        let mut passed = Vec::new();
        Cutter::new(1 << 20).pass(&ping, |bytes| passed.extend_from_slice(bytes)).expect("not too long");
        assert_eq!(passed, ping);
    }
}
