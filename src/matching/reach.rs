//! Which cells lie within reach of a place, told so that an index can find them: row by row, from here to there.

use super::place::{Cell, RADIUS_KM, ROW_DEGREES, ROWS, cells_in, row_middle};

/// Reaches from here on are the whole Earth: their rows would be more work than looking at everybody who is active.
const EVERYWHERE_KM: i64 = 1000;

/// Cells of one row that lie side by side: the row, its first place and its last.
pub type Span = (i64, i64, i64);

/// Spans that hold every cell within some kilometres, and few others; none when that is everywhere.
pub fn spans(cell: Cell, km: i64) -> Option<Vec<Span>> {
    if km >= EVERYWHERE_KM {
        return None;
    }
    let (middle_lat, middle_lon) = cell.centre();
    let angle = km.max(0) as f64 / RADIUS_KM;
    let rows = (angle.to_degrees() / ROW_DEGREES).ceil() as i64;
    let mut spans = Vec::new();
    for lat in (cell.lat - rows).max(0)..=(cell.lat + rows).min(ROWS - 1) {
        let cells = cells_in(lat);
        // How far east and west the circle reaches in this row, by the haversine formula turned round.
        let north = ((row_middle(lat) - middle_lat).to_radians() / 2.0).sin().powi(2);
        let room = (angle / 2.0).sin().powi(2) - north;
        let east = room.max(0.0) / (middle_lat.to_radians().cos() * row_middle(lat).to_radians().cos());
        let degrees = if east >= 1.0 { 180.0 } else { 2.0 * east.sqrt().asin().to_degrees() };
        let place = |longitude: f64| ((longitude + 180.0) / 360.0 * cells as f64).floor() as i64;
        // One more on each side, for what the arithmetic rounds away.
        let (first, last) = (place(middle_lon - degrees) - 1, place(middle_lon + degrees) + 1);
        if last - first + 1 >= cells {
            spans.push((lat, 0, cells - 1));
        } else if first < 0 {
            spans.extend([(lat, 0, last), (lat, first + cells, cells - 1)]);
        } else if last >= cells {
            spans.extend([(lat, first, cells - 1), (lat, 0, last - cells)]);
        } else {
            spans.push((lat, first, last));
        }
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use super::super::place::distance_km;
    use super::*;
    use proptest::prelude::*;

    fn holds(spans: &[Span], cell: Cell) -> bool {
        spans.iter().any(|(lat, first, last)| *lat == cell.lat && (*first..=*last).contains(&cell.lon))
    }

    proptest! {
        #[test]
        fn every_cell_within_reach_is_in_a_span(
            latitude in -90.0..=90.0_f64, longitude in -180.0..=180.0_f64,
            north in -9.5..9.5_f64, east in -180.0..=180.0_f64, km in 0..EVERYWHERE_KM,
        ) {
            let cell = Cell::of(latitude, longitude).expect("on Earth");
            let near = ((longitude + east * (km as f64 / 5000.0) + 540.0) % 360.0) - 180.0;
            for longitude in [near, east] {
                let other = Cell::of((latitude + north).clamp(-90.0, 90.0), longitude).expect("on Earth");
                let spans = spans(cell, km).expect("not everywhere");
                prop_assert!(holds(&spans, cell));
                prop_assert!(distance_km(cell, other) > km as f64 || holds(&spans, other));
                let mut seen: Vec<Span> = spans.clone();
                seen.sort_unstable();
                prop_assert!(seen.windows(2).all(|two| two[0].0 != two[1].0 || two[0].2 < two[1].1), "nobody twice");
            }
        }
    }

    #[test]
    fn a_city_is_a_few_dozen_rows() {
        let paris = Cell::of(48.8566, 2.3522).expect("on Earth");
        let spans = spans(paris, 50).expect("not everywhere");
        assert!(spans.len() < 50 && spans.iter().all(|(_, first, last)| last - first < 60));
        assert_eq!(super::spans(paris, EVERYWHERE_KM), None);
    }
}
