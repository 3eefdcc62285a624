//! Where a page ends. Pages are bounded in items and in bytes, and this is the one place that counts bytes.

use serde::Serialize;

/// How many of these items, from the first on, fit into a page of `bytes_max` bytes as they are encoded. One at least,
/// whatever its size, so that a client gets on.
pub fn fit<'a, T: Serialize + 'a>(items: impl IntoIterator<Item = &'a T>, bytes_max: usize) -> usize {
    let mut bytes = Bytes(0);
    let fits = items.into_iter().take_while(|item| {
        // Nothing is written, so nothing fails; what could not be encoded is seen where the page is.
        let _ = serde_json::to_writer(&mut bytes, item);
        bytes.0 <= bytes_max
    });
    fits.count().max(1)
}

/// Counts what is written, and keeps none of it.
struct Bytes(usize);

impl std::io::Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n02_a_page_has_what_fits_and_one_item_at_least() {
        // Each is encoded in 5 bytes.
        let items = ["abc"; 4];
        assert_eq!([0, 4, 5, 9, 10, 19, 20, 99].map(|bytes| fit(&items, bytes)), [1, 1, 1, 1, 2, 3, 4, 4]);
        // As encoded, and not as it is kept.
        assert_eq!(fit(&["\n\n\n", "a"], 10), 1);
    }
}
