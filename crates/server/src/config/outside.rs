//! What reading a configuration needs of the world: files, and the addresses of hosts.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::error::ConfigError;

/// Largest file of a configuration, in bytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What reading a configuration needs of the world. The file system is the binary's, and nobody
/// else asks for names.
pub trait Outside {
    /// Reads the whole of a file that is at most so many bytes long; a longer one is cut off behind
    /// them, and `None` is a file that does not exist.
    ///
    /// # Errors
    /// The operating system's.
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>>;

    /// The first address of a host, which may be an address itself.
    ///
    /// # Errors
    /// Where the name is not known.
    fn resolve(&self, host: &str) -> io::Result<IpAddr>;
}

/// A reader of files alone: hosts are addresses, and no name is known.
impl<F: Fn(&Path, u64) -> io::Result<Option<Vec<u8>>>> Outside for F {
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>> {
        self(path, len_max)
    }

    fn resolve(&self, host: &str) -> io::Result<IpAddr> {
        host.parse().map_err(|_| io::Error::other("no names are looked up"))
    }
}

/// Reads a file of the configuration, up to a bound.
pub(super) fn bounded(path: &Path, outside: &dyn Outside) -> Result<Option<Vec<u8>>, ConfigError> {
    let bytes = outside
        .read(path, FILE_LEN_MAX + 1)
        .map_err(|source| ConfigError::File { path: path.to_path_buf(), source })?;
    if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > FILE_LEN_MAX) {
        return Err(ConfigError::FileTooLarge { path: path.to_path_buf(), limit: FILE_LEN_MAX });
    }
    Ok(bytes)
}

/// Reads a file that has to be there.
pub(super) fn existing(path: &Path, outside: &dyn Outside) -> Result<Vec<u8>, ConfigError> {
    bounded(path, outside)?.ok_or_else(|| ConfigError::File {
        path: path.to_path_buf(),
        source: io::Error::new(io::ErrorKind::NotFound, "there is no such file"),
    })
}
