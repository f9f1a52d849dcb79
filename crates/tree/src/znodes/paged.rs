//! Rows in pages of fixed size: growing moves nothing, and a row keeps its number.

/// Rows of one page.
const PAGE_LEN: usize = 4096;

/// A vector whose rows never move.
#[derive(Debug)]
pub(super) struct Paged<T> {
    pages: Vec<Vec<T>>,
    len: u32,
}

impl<T> Paged<T> {
    /// No rows.
    pub(super) fn new() -> Self {
        Paged { pages: Vec::new(), len: 0 }
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Appends a row and returns its number.
    pub(super) fn push(&mut self, row: T) -> u32 {
        let number = self.len;
        if (number as usize).is_multiple_of(PAGE_LEN) {
            self.pages.push(Vec::with_capacity(PAGE_LEN));
        }
        self.pages.last_mut().expect("a page was made for the first row").push(row);
        self.len = number.checked_add(1).expect("rows are numbered in 32 bits");
        number
    }

    /// A row.
    #[inline]
    pub(super) fn get(&self, number: u32) -> &T {
        &self.pages[number as usize / PAGE_LEN][number as usize % PAGE_LEN]
    }

    /// A row to change.
    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut T {
        &mut self.pages[number as usize / PAGE_LEN][number as usize % PAGE_LEN]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_numbers_over_pages() {
        let mut rows = Paged::new();
        for value in 0..10_000u32 {
            assert_eq!(rows.push(value), value);
        }
        *rows.get_mut(4096) += 1;
        assert_eq!((rows.len(), *rows.get(4095), *rows.get(4096)), (10_000, 4095, 4097));
    }
}
