//! The tables of colours that a GIF's frames have: 256 at most, one of which may be no colour but clear.

use std::collections::BTreeSet;

use color_quant::NeuQuant;
use gif::Frame;

/// Most colours of a frame, so that there is a number left for what is clear.
const MOST: usize = 255;
/// Of so many pixels, one is looked at to choose the colours.
const SAMPLED: i32 = 30;

/// Renumbers pixels to a table of just the colours that they use, in the order of the colours: so the table, which may
/// hold any bytes, says nothing more than the pixels do.
pub(super) fn used(numbers: &mut [u8], palette: &[u8], transparent: Option<u8>) -> (Vec<u8>, Option<u8>) {
    let mut used = [false; 256];
    numbers.iter().for_each(|number| used[usize::from(*number)] = true);
    let colour = |number: u8| {
        let begin = usize::from(number) * 3;
        palette.get(begin..begin + 3).map_or([0; 3], |colour| [colour[0], colour[1], colour[2]])
    };
    let seen = (0..=u8::MAX).filter(|number| used[usize::from(*number)] && Some(*number) != transparent);
    let colours: Vec<[u8; 3]> = seen.map(colour).collect::<BTreeSet<_>>().into_iter().collect();
    // Where it is used, it comes last, so there is a number left for it.
    let clear = transparent.filter(|number| used[usize::from(*number)]).map(|_| colours.len().min(255) as u8);
    let mut anew = [0; 256];
    for number in 0..=u8::MAX {
        let place = colours.binary_search(&colour(number)).unwrap_or(0).min(255) as u8;
        anew[usize::from(number)] = clear.filter(|_| Some(number) == transparent).unwrap_or(place);
    }
    numbers.iter_mut().for_each(|number| *number = anew[usize::from(*number)]);
    let mut palette = colours.concat();
    if clear.is_some() || palette.is_empty() {
        palette.extend([0; 3]);
    }
    (palette, clear)
}

/// A frame of pixels that are opaque, or clear in all four bytes; its sides are still to be told. Of too many colours the
/// best few are chosen.
pub(super) fn chosen(pixels: &[u8]) -> Frame<'static> {
    let (pixels, _) = pixels.as_chunks::<4>();
    match few(pixels) {
        Some(few) => {
            let number = |[red, green, blue, _]: [u8; 4]| few.binary_search(&[red, green, blue]).unwrap_or(0);
            numbered(pixels, few.concat(), number)
        }
        None => {
            let opaque: Vec<u8> = pixels.iter().filter(|pixel| pixel[3] > 0).flatten().copied().collect();
            let quantiser = NeuQuant::new(SAMPLED, MOST, &opaque);
            // To look for the nearest one takes long: once for all colours that differ by no more than eye can see.
            let mut nearest = vec![None; 1 << 15];
            let number = |pixel: [u8; 4]| {
                let place = pixel[..3].iter().fold(0, |place, colour| place << 5 | usize::from(colour >> 3));
                *nearest[place].get_or_insert_with(|| quantiser.index_of(&pixel))
            };
            numbered(pixels, quantiser.color_map_rgb(), number)
        }
    }
}

/// The colours, in their order, if they are not too many.
fn few(pixels: &[[u8; 4]]) -> Option<Vec<[u8; 3]>> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for [red, green, blue, _] in pixels.iter().filter(|pixel| pixel[3] > 0) {
        let colour = [*red, *green, *blue];
        // Neighbours are often alike.
        if last != Some(colour) && found.insert(colour) && found.len() > MOST {
            return None;
        }
        last = Some(colour);
    }
    Some(found.into_iter().collect())
}

/// Numbers pixels by a table of colours, to which a clear one is added if need be.
fn numbered(pixels: &[[u8; 4]], mut palette: Vec<u8>, mut number: impl FnMut([u8; 4]) -> usize) -> Frame<'static> {
    let clear = (palette.len() / 3).min(MOST) as u8;
    let mut last = ([0; 4], clear);
    let numbers: Vec<u8> = pixels
        .iter()
        .map(|pixel| {
            if last.0 != *pixel {
                last = (*pixel, if pixel[3] == 0 { clear } else { number(*pixel).min(MOST) as u8 });
            }
            last.1
        })
        .collect();
    let transparent = numbers.contains(&clear).then_some(clear);
    if transparent.is_some() {
        palette.extend([0; 3]);
    }
    Frame { transparent, palette: Some(palette), buffer: numbers.into(), ..Frame::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_colours_stay_as_they_are() {
        let frame = chosen(&[9, 9, 9, 255, 1, 2, 3, 255, 9, 9, 9, 255, 0, 0, 0, 0]);
        assert_eq!(frame.palette, Some(vec![1, 2, 3, 9, 9, 9, 0, 0, 0]));
        assert_eq!((&frame.buffer[..], frame.transparent), (&[1, 0, 1, 2][..], Some(2)));
    }

    #[test]
    fn of_many_colours_those_near_to_them_are_chosen() {
        let pixels: Vec<u8> = (0..=u8::MAX).flat_map(|x| (0..=u8::MAX).flat_map(move |y| [x, y, 90, 255])).collect();
        let frame = chosen(&[&pixels[..], &[0; 4]].concat());
        let palette = frame.palette.expect("a table");
        assert_eq!((palette.len(), frame.transparent), (256 * 3, Some(255)));
        for (pixel, number) in pixels.chunks(4).zip(frame.buffer.iter()) {
            let colour = &palette[usize::from(*number) * 3..][..3];
            assert!(pixel.iter().zip(colour).all(|(one, other)| one.abs_diff(*other) < 50), "{pixel:?} {colour:?}");
        }
    }

    #[test]
    fn a_table_keeps_only_the_colours_that_are_used() {
        // A number beyond the table, two alike, and one that nobody uses.
        let mut numbers = [3, 0, 2, 7, 0];
        let (palette, clear) = used(&mut numbers, &[8, 8, 8, 66, 66, 66, 5, 5, 5, 8, 8, 8], Some(2));
        assert_eq!((palette, clear, numbers), (vec![0, 0, 0, 8, 8, 8, 0, 0, 0], Some(2), [1, 1, 2, 0, 1]));
        // All 256 numbers, one of them clear.
        let mut numbers: Vec<u8> = (0..=u8::MAX).collect();
        let colours: Vec<u8> = (0..=u8::MAX).flat_map(|colour| [colour, 0, 0]).collect();
        let (palette, clear) = used(&mut numbers, &colours, Some(17));
        assert_eq!((palette.len(), clear, numbers[17], numbers[255]), (256 * 3, Some(255), 255, 254));
    }
}
