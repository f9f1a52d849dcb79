//! Reading configuration files, and what the system tells of the process.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

use rookeeper_server::config::Outside;
use rookeeper_server::process::{Process, ProcessorTime};
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

/// Files and names as this machine has them.
pub struct System;

impl Outside for System {
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>> {
        read(path, len_max)
    }

    fn resolve(&self, host: &str) -> io::Result<IpAddr> {
        let first = (host, 0).to_socket_addrs()?.next();
        let unknown = || io::Error::new(ErrorKind::NotFound, "the name has no address");
        first.map(|address| address.ip()).ok_or_else(unknown)
    }
}

fn read(path: &Path, len_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(len_max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// This process, as `/proc` shows it.
#[derive(Debug)]
pub struct ThisProcess;

impl Process for ThisProcess {
    /// Keys of a JVM stay, for clients look for them, with `<NA>` as Java writes what it does not
    /// know. The program stands for the class path; memory is the machine's free and whole memory,
    /// and what the process holds of it.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let missing = || "<NA>".to_string();
        let user = User::of_process();
        let directory = std::env::current_dir().ok().map(|path| path.display().to_string());
        let program = std::env::current_exe().ok().map(|path| path.display().to_string());
        let system = match std::env::consts::OS {
            "linux" => "Linux",
            "macos" => "Mac OS X",
            other => other,
        };
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            other => other,
        };
        let megabytes = |kilobytes: u64| format!("{}MB", kilobytes / 1024);
        vec![
            ("host.name", line("/proc/sys/kernel/hostname").unwrap_or_else(missing)),
            ("java.version", missing()),
            ("java.vendor", missing()),
            ("java.home", missing()),
            ("java.class.path", program.unwrap_or_else(missing)),
            ("java.library.path", missing()),
            ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
            ("java.compiler", missing()),
            ("os.name", system.to_string()),
            ("os.arch", architecture.to_string()),
            ("os.version", line("/proc/sys/kernel/osrelease").unwrap_or_else(missing)),
            ("user.name", user.name.unwrap_or_else(missing)),
            ("user.home", user.home.unwrap_or_else(missing)),
            ("user.dir", directory.unwrap_or_else(missing)),
            ("os.memory.free", megabytes(number("/proc/meminfo", "MemAvailable:"))),
            ("os.memory.max", megabytes(number("/proc/meminfo", "MemTotal:"))),
            ("os.memory.total", megabytes(number("/proc/self/status", "VmRSS:"))),
        ]
    }

    fn open_file_descriptors(&self) -> u64 {
        // The directory that is being listed is open as well.
        std::fs::read_dir("/proc/self/fd").map_or(0, |list| list.count().saturating_sub(1) as u64)
    }

    fn max_file_descriptors(&self) -> u64 {
        number("/proc/self/limits", "Max open files")
    }

    fn processor_time(&self) -> Option<ProcessorTime> {
        let file = File::open("/proc/stat").ok()?;
        // The first line is of all processors together.
        let mut bytes = Vec::new();
        file.take(PROCESSORS_LINE_LEN).read_to_end(&mut bytes).ok()?;
        processor_time(&String::from_utf8_lossy(&bytes))
    }
}

/// Raises the soft limit on open files to the hard one, as a JVM does (`MaxFDLimit`): many systems
/// give a process 1,024, and let it have many more where it asks. Where it may not, it has what it
/// had.
pub fn allow_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// More than the first line of `/proc/stat` has.
const PROCESSORS_LINE_LEN: u64 = 512;

/// Of the first line of `/proc/stat`: user, nice, system, idle, waiting for a disk, interrupts of
/// two kinds, stolen; guests' are in those of users.
fn processor_time(text: &str) -> Option<ProcessorTime> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let mut parts = line.split_whitespace().map(|number| number.parse::<u64>().ok());
    let mut parts = [(); 8].map(|()| parts.next().flatten().unwrap_or(0));
    let idle = std::mem::take(&mut parts[3]) + std::mem::take(&mut parts[4]);
    Some(ProcessorTime { busy: parts.iter().sum(), idle })
}

/// Who runs the process.
#[derive(Debug, Default, PartialEq, Eq)]
struct User {
    name: Option<String>,
    home: Option<String>,
}

impl User {
    /// The user of the system's list, as in a JVM: services are started without `USER`. The
    /// environment speaks where that list does not, as in containers under a number of their own.
    fn of_process() -> User {
        let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let listed = User::listed(&list, getuid().as_raw());
        let variable = |name: &str| std::env::var(name).ok();
        User {
            name: listed.name.or_else(|| variable("USER")).or_else(|| variable("LOGNAME")),
            home: listed.home.or_else(|| variable("HOME")),
        }
    }

    /// The user of an id in the text of `/etc/passwd`.
    fn listed(list: &str, id: u32) -> User {
        let id = id.to_string();
        let lines = list.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let field = |field: &str| Some(field.to_string()).filter(|field| !field.is_empty());
        let found = lines.into_iter().find(|fields| fields.len() >= 6 && fields[2] == id);
        found.map_or_else(User::default, |f| User { name: field(f[0]), home: field(f[5]) })
    }
}

fn line(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}

/// The first number behind `key` at the start of a line; 0 where there is none.
fn number(path: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let rest = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        let process = ThisProcess;
        let environment = process.environment();
        let keys: Vec<&str> = environment.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            keys,
            [
                "host.name",
                "java.version",
                "java.vendor",
                "java.home",
                "java.class.path",
                "java.library.path",
                "java.io.tmpdir",
                "java.compiler",
                "os.name",
                "os.arch",
                "os.version",
                "user.name",
                "user.home",
                "user.dir",
                "os.memory.free",
                "os.memory.max",
                "os.memory.total",
            ]
        );
        let open = process.open_file_descriptors();
        let file = File::open("/proc/self/status").unwrap();
        assert!(process.open_file_descriptors() > open.min(2), "{open}");
        drop(file);
        assert!(process.max_file_descriptors() >= open);
    }

    #[test]
    fn users_are_found_by_their_number() {
        let list =
            "root:x:0:0:root:/root:/bin/sh\nbroken:x:7\n\nzk:x:7:8::/var/lib/zk:/bin/false\n";
        let user =
            |name: &str, home: &str| User { name: Some(name.into()), home: Some(home.into()) };
        assert_eq!(User::listed(list, 0), user("root", "/root"));
        assert_eq!(User::listed(list, 7), user("zk", "/var/lib/zk"));
        assert_eq!(User::listed(list, 8), User::default());
        assert_eq!(User::listed("", 0), User::default());
        assert_eq!(User::listed("x:x:1:1:::", 1), User { name: Some("x".into()), home: None });
    }

    #[test]
    fn the_processors_work_and_wait() {
        let text = "cpu  10 1 5 100 20 2 3 4 7 0\ncpu0 10 1 5 100 20 2 3 4 7 0\n";
        assert_eq!(processor_time(text), Some(ProcessorTime { busy: 25, idle: 120 }));
        assert_eq!(processor_time("cpu  10 1 5 100"), Some(ProcessorTime { busy: 16, idle: 100 }));
        assert_eq!(processor_time("intr 1 2 3"), None);
        let time = ThisProcess.processor_time().unwrap();
        assert!(time.busy > 0 && time.busy.saturating_add(time.idle) > time.busy);
    }

    #[test]
    fn files_are_read_up_to_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(read(&path, 10).unwrap(), None);
        std::fs::write(&path, "0123456789abc").unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"0123456789");
        assert!(read(directory.path(), 10).is_err());
    }
}
