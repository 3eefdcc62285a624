//! Where people are, coarsely. Pure.
//!
//! A place is kept as a cell of a fixed grid, never as a point. Rows of cells are 0.02 degrees of latitude high (2.2 km).
//! Each row is cut into as many equal cells as fit with a width of 2.2 km or more at the row's middle, so that cells are
//! nearly square everywhere, 2 to 4 km on each side.
//!
//! A distance is that between the centres of two cells, and only the upper edge of its band is given out. So whatever
//! is asked, from wherever, tells no more than the cell.

/// Mean radius of the Earth, in kilometres.
pub(super) const RADIUS_KM: f64 = 6371.0;
/// Height of a row, in degrees.
pub(super) const ROW_DEGREES: f64 = 0.02;
/// Rows from pole to pole.
pub(super) const ROWS: i64 = 9000;
/// Cells of the rows at the equator: 360 degrees by 0.02.
const EQUATOR_CELLS: f64 = 18_000.0;

/// Half the way round the Earth, in kilometres.
const FARTHEST_KM: i64 = 20_015;
/// Upper edges of the bands, in kilometres.
pub const BANDS_KM: &[i64] = &[1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, FARTHEST_KM];

/// A cell of the grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Row, from the south pole.
    pub lat: i64,
    /// Place in the row, eastwards from 180 degrees west.
    pub lon: i64,
}

impl Cell {
    /// The cell of a point; `None` when there is no such point.
    pub fn of(latitude: f64, longitude: f64) -> Option<Cell> {
        // A NaN is in no range.
        if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
            return None;
        }
        let lat = (((latitude + 90.0) / ROW_DEGREES).floor() as i64).min(ROWS - 1);
        let cells = cells_in(lat);
        // 180 degrees east and west are the same place.
        let lon = ((longitude + 180.0) / 360.0 * cells as f64).floor() as i64 % cells;
        Some(Cell { lat, lon })
    }

    /// Latitude and longitude of the centre, in degrees.
    pub fn centre(self) -> (f64, f64) {
        let longitude = (self.lon as f64 + 0.5) / cells_in(self.lat) as f64 * 360.0 - 180.0;
        (row_middle(self.lat), longitude)
    }
}

pub(super) fn row_middle(lat: i64) -> f64 {
    (lat as f64 + 0.5) * ROW_DEGREES - 90.0
}

pub(super) fn cells_in(lat: i64) -> i64 {
    ((EQUATOR_CELLS * row_middle(lat).to_radians().cos()).floor() as i64).max(1)
}

/// Kilometres between the centres of two cells.
pub fn distance_km(one: Cell, other: Cell) -> f64 {
    let ((lat1, lon1), (lat2, lon2)) = (one.centre(), other.centre());
    let half = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
    let sum = half(lat2 - lat1) + lat1.to_radians().cos() * lat2.to_radians().cos() * half(lon2 - lon1);
    2.0 * RADIUS_KM * sum.clamp(0.0, 1.0).sqrt().asin()
}

/// The upper edge of the band that the distance of two cells falls in: all that anybody is told.
pub fn band_km(one: Cell, other: Cell) -> i64 {
    let distance = distance_km(one, other);
    BANDS_KM.iter().copied().find(|edge| distance <= *edge as f64).unwrap_or(FARTHEST_KM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::PI;

    fn cell(latitude: f64, longitude: f64) -> Cell {
        Cell::of(latitude, longitude).expect("on Earth")
    }

    #[test]
    fn cells_are_two_to_four_kilometres_in_each_direction() {
        let height = ROW_DEGREES.to_radians() * RADIUS_KM;
        assert!((2.0..4.0).contains(&height));
        for lat in 0..ROWS {
            let width = 2.0 * PI * RADIUS_KM * row_middle(lat).to_radians().cos() / cells_in(lat) as f64;
            assert!((2.0..4.0).contains(&width), "row {lat} has cells {width} km wide");
        }
    }

    #[test]
    fn known_distances() {
        let (paris, london) = (cell(48.8566, 2.3522), cell(51.5074, -0.1278));
        assert!((distance_km(paris, london) - 343.6).abs() < 4.0, "{}", distance_km(paris, london));
        assert_eq!(band_km(paris, london), 500);
        assert_eq!(band_km(paris, paris), 1);
        assert_eq!(band_km(cell(90.0, 0.0), cell(-90.0, 0.0)), 20_015);
        assert_eq!(cell(10.0, 180.0), cell(10.0, -180.0));
    }

    #[test]
    fn points_that_are_nowhere() {
        for (latitude, longitude) in [(90.1, 0.0), (0.0, 180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Cell::of(latitude, longitude), None);
        }
    }

    proptest! {
        #[test]
        fn a_point_lies_in_its_cell(latitude in -90.0..=90.0_f64, longitude in -180.0..=180.0_f64) {
            let found = cell(latitude, longitude);
            let (lat, lon) = found.centre();
            prop_assert_eq!(cell(lat, lon), found);
            prop_assert!((lat - latitude).abs() <= ROW_DEGREES / 2.0 + 1e-9);
            prop_assert!((0..ROWS).contains(&found.lat) && (0..cells_in(found.lat)).contains(&found.lon));
        }

        #[test]
        fn s48_moving_within_a_cell_changes_no_answer(
            latitude in -80.0..80.0_f64, longitude in -179.0..179.0_f64,
            north in -0.5..0.5_f64, east in -0.5..0.5_f64,
            from_latitude in -90.0..=90.0_f64, from_longitude in -180.0..=180.0_f64,
        ) {
            let (lat, lon) = cell(latitude, longitude).centre();
            let width = 360.0 / cells_in(cell(latitude, longitude).lat) as f64;
            let moved = cell(lat + north * ROW_DEGREES * 0.99, lon + east * width * 0.99);
            let reader = cell(from_latitude, from_longitude);
            prop_assert_eq!(band_km(reader, moved), band_km(reader, cell(latitude, longitude)));
        }

        #[test]
        fn distances_are_symmetric_and_bands_hold_them(
            a in (-90.0..=90.0_f64, -180.0..=180.0_f64), b in (-90.0..=90.0_f64, -180.0..=180.0_f64),
        ) {
            let (a, b) = (cell(a.0, a.1), cell(b.0, b.1));
            prop_assert!((distance_km(a, b) - distance_km(b, a)).abs() < 1e-6);
            let band = band_km(a, b);
            prop_assert!(BANDS_KM.contains(&band) && distance_km(a, b) <= band as f64 + 0.1);
        }
    }
}
