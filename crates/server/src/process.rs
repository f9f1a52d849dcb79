//! What the server tells about the process around it. Whoever runs a server says it: this crate
//! does not look at the file system, where most of it is found.

use std::fmt::Debug;

/// A process and its machine.
pub trait Process: Debug + Send + Sync {
    /// Keys and values of `envi` behind the version, in Java's order (`Environment.list`).
    fn environment(&self) -> Vec<(&'static str, String)>;
    /// Open file descriptors.
    fn open_file_descriptors(&self) -> u64;
    /// Most file descriptors that may be open.
    fn max_file_descriptors(&self) -> u64;
}

/// A process of which nothing is known.
#[derive(Debug)]
pub struct UnknownProcess;

impl Process for UnknownProcess {
    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn open_file_descriptors(&self) -> u64 {
        0
    }

    fn max_file_descriptors(&self) -> u64 {
        0
    }
}
