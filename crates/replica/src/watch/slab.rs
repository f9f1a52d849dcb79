//! A slab with 32-bit indices: freed places are used again, and an empty slab gives its memory
//! back.

/// The index that stands for "none".
pub(super) const NIL: u32 = u32::MAX;

/// Entries by index.
#[derive(Debug)]
pub(super) struct Slab<T> {
    entries: Vec<T>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Slab { entries: Vec::new(), free: Vec::new() }
    }

    /// Puts an entry in a free place and returns its index.
    ///
    /// # Panics
    /// With 2^32 - 1 entries, which is above every limit on connections and watches.
    pub(super) fn insert(&mut self, entry: T) -> u32 {
        if let Some(index) = self.free.pop() {
            self.entries[index as usize] = entry;
            return index;
        }
        let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 watches");
        assert!(index != NIL, "fewer than 2^32 - 1 watches");
        self.entries.push(entry);
        index
    }

    /// Entries and vacant places from an index on, at most `len`, and where the next ones begin.
    pub(super) fn slice(&self, from: u32, len: usize) -> (&[T], Option<u32>) {
        let start = (from as usize).min(self.entries.len());
        let end = start.saturating_add(len).min(self.entries.len());
        let next = (end < self.entries.len()).then(|| u32::try_from(end).expect("an index"));
        (&self.entries[start..end], next)
    }

    /// Frees a place; `vacant` stays there until the place is used again.
    pub(super) fn remove(&mut self, index: u32, vacant: T) {
        self.entries[index as usize] = vacant;
        self.free.push(index);
        if self.free.len() == self.entries.len() {
            *self = Slab::new();
        }
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, index: u32) -> &T {
        &self.entries[index as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.entries[index as usize]
    }
}
