//! What the server tells about the process around it. Whoever runs a server says it: this crate
//! does not look at the file system, where most of it is found.

use std::fmt::Debug;

/// How long the processors of a machine have worked and waited since it was started, all
/// together, in any unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessorTime {
    /// At work, for this process or others, other machines on the same hardware included.
    pub busy: u64,
    /// With nothing to do.
    pub idle: u64,
}

/// A process and its machine. What is not known of one is nothing.
pub trait Process: Debug + Send + Sync {
    /// Keys and values of `envi` behind the version, in Java's order (`Environment.list`).
    fn environment(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Open file descriptors.
    fn open_file_descriptors(&self) -> u64 {
        0
    }

    /// Most file descriptors that may be open.
    fn max_file_descriptors(&self) -> u64 {
        0
    }

    /// What the machine's processors have done; `None` where that is not known.
    fn processor_time(&self) -> Option<ProcessorTime> {
        None
    }
}

/// A process of which nothing is known.
#[derive(Debug)]
pub struct UnknownProcess;

impl Process for UnknownProcess {}
