//! An ext4 file system in a file, mounted over a loop device, whose power can be cut.
#![allow(unsafe_code, reason = "the ioctl that shuts ext4 down has no safe wrapper")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::ioctl::{Setter, ioctl, opcode};

/// A mounted file system; it is unmounted and deleted when this is dropped.
pub struct Ext4 {
    image: PathBuf,
    /// Where it is mounted.
    pub mount: PathBuf,
    mounted: bool,
}

/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: what is in memory only, the journal's included, is lost.
const GOING_DOWN_WITHOUT_FLUSH: u32 = 2;

/// `EXT4_IOC_SHUTDOWN`: `_IOR('X', 125, __u32)`.
const SHUTDOWN: u32 = opcode::read::<u32>(b'X', 125);

fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), why.trim()))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test names its own paths")
}

impl Ext4 {
    /// Makes and mounts a file system of `megabytes` under `folder`.
    ///
    /// # Errors
    /// Where the machine does not allow it, in words: the caller skips by name.
    pub fn make(folder: &Path, megabytes: u64) -> Result<Ext4, String> {
        if !rustix::process::getuid().is_root() {
            return Err("only root may mount a loop device".to_owned());
        }
        let (image, mount) = (folder.join("ext4.img"), folder.join("mount"));
        fs::create_dir_all(&mount).map_err(|error| error.to_string())?;
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(megabytes << 20).map_err(|error| error.to_string())?;
        command("mkfs.ext4", &["-q", "-F", text(&image)])?;
        let mut ext4 = Ext4 { image, mount, mounted: false };
        ext4.mount()?;
        Ok(ext4)
    }

    /// Mounts it; the journal is replayed, as after a power cut.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn mount(&mut self) -> Result<(), String> {
        command("mount", &["-o", "loop", text(&self.image), text(&self.mount)])?;
        self.mounted = true;
        Ok(())
    }

    /// Writes all that is in memory: what was laid out before the test is not what is tested.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn sync(&self) -> Result<(), String> {
        let folder = File::open(&self.mount).map_err(|error| error.to_string())?;
        rustix::fs::syncfs(&folder).map_err(|error| error.to_string())
    }

    /// Unmounts it.
    ///
    /// # Errors
    /// What `umount` says, such as files that are still open.
    pub fn unmount(&mut self) -> Result<(), String> {
        command("umount", &[text(&self.mount)])?;
        self.mounted = false;
        Ok(())
    }

    /// Cuts the power: from now on every write and fsync fails, and what had not reached the disk
    /// is gone at the next mount.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn cut_power(&self) -> Result<(), String> {
        let folder = File::open(&self.mount).map_err(|error| error.to_string())?;
        // SAFETY: the kernel reads one u32 behind the pointer that `Setter` passes, and `Setter`
        // holds it while the call lasts.
        let result =
            unsafe { ioctl(&folder, Setter::<SHUTDOWN, u32>::new(GOING_DOWN_WITHOUT_FLUSH)) };
        result.map_err(|error| format!("EXT4_IOC_SHUTDOWN: {error}"))
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        if self.mounted {
            let _ = self.unmount();
        }
        let _ = fs::remove_file(&self.image);
    }
}
