//! Placeholder paragraph until the crate lands.
