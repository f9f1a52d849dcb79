//! Small file systems in memory that can be made full, and given room again.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tmpfs; unmounted when this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    /// Where it is mounted.
    pub mount: PathBuf,
    megabytes: u64,
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

impl SmallDisk {
    /// Mounts one of this size.
    ///
    /// # Errors
    /// Where the machine does not allow it, in words.
    pub fn make(mount: &Path, megabytes: u64) -> Result<SmallDisk, String> {
        std::fs::create_dir_all(mount).map_err(|error| error.to_string())?;
        let size = format!("size={megabytes}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(mount))?;
        Ok(SmallDisk { mount: mount.to_owned(), megabytes })
    }

    /// Takes away the room that is left, or gives it back.
    ///
    /// # Panics
    /// Where the size of a mounted tmpfs cannot be changed.
    pub fn fill(&self, full: bool) {
        let mut why = String::new();
        // It cannot become smaller than what is on it, and somebody may be writing.
        for spare in 0..50 {
            let size = match full {
                true => format!("{}k", self.used_kilobytes() + 16 * spare),
                false => format!("{}m", self.megabytes),
            };
            let mut command = Command::new("mount");
            command.args(["-o", &format!("remount,size={size}")]).arg(&self.mount);
            match run(&mut command) {
                Ok(_) => return,
                Err(error) => why = error,
            }
        }
        panic!("{}: {why}", self.mount.display());
    }

    /// What is written on, rounded up to a page as the size of a tmpfs is.
    fn used_kilobytes(&self) -> u64 {
        let answer = run(Command::new("df").args(["-k", "--output=used"]).arg(&self.mount));
        let answer = answer.unwrap_or_else(|why| panic!("df: {why}"));
        let used = answer.lines().nth(1).and_then(|line| line.trim().parse::<u64>().ok());
        used.expect("df prints a number below its title").next_multiple_of(4).max(4)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let keep = std::thread::panicking() && std::env::var_os("INTEROP_KEEP").is_some();
        if !keep {
            let _ = run(Command::new("umount").arg(&self.mount));
        }
    }
}
