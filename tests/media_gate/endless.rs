//! Pictures whole to their last pixel that lack the mark of their end, as some cameras and programs leave them.

use duet::media::{Refused, Size};

use crate::make;
use crate::upload::{picture, refusal};

#[test]
fn d13_a_picture_without_the_mark_of_its_end_is_a_picture() {
    let noise = make::noise(64, 48);
    let (jpeg, png, gif) = (make::jpeg(&noise), make::png(&noise), make::gif(std::slice::from_ref(&noise)));
    let moving = make::gif(&[make::quarters(60, 40), make::noise(60, 40)]);
    let grey = make::grey_jpeg(33, 17);
    // The two bytes of a JPEG, the twelve of a PNG, the one of a GIF and that of its last block: all of them, or some.
    for (whole, mark) in [(&jpeg, 2), (&grey, 2), (&png, 12), (&gif, 2), (&moving, 2)] {
        let seen = picture(whole).expect("whole, it passes").pixels(Size::Whole);
        for missing in 1..=mark {
            let bare = picture(&whole[..whole.len() - missing]);
            let bare = bare.unwrap_or_else(|refused| panic!("{refused:?}: {missing} of {} bytes missing", whole.len()));
            assert!(bare.pixels(Size::Whole) == seen, "it looks the same without its last {missing} bytes");
        }
        assert_eq!(refusal(&whole[..whole.len() - mark - 40]), Refused::Broken, "a pixel more is missing");
    }
}

#[test]
fn d13_what_is_missing_is_not_made_up() {
    let noise = make::noise(64, 48);
    for whole in [make::jpeg(&noise), make::png(&noise), make::gif(std::slice::from_ref(&noise)), make::webp(&noise)] {
        for end in [whole.len() * 9 / 10, whole.len() / 2, whole.len() / 4, whole.len() / 10, 30, 14, 12] {
            assert_eq!(refusal(&whole[..end]), Refused::Broken, "{end} bytes of {}", whole.len());
        }
    }
}
