//! CPU time and memory of processes, from `/proc`.

use std::fs;
use std::time::Duration;

use crate::error::BenchError;

/// Clock ticks a second in `/proc/<pid>/stat`: Linux shows 100 to user space on every platform.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process with all its threads, user and system, those that ended included.
///
/// # Errors
/// Where there is no such process.
pub fn cpu_time(pid: u32) -> Result<Duration, BenchError> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(BenchError::io(path))?;
    let ticks = parse_cpu_ticks(&text)
        .ok_or_else(|| BenchError::Usage(format!("/proc/{pid}/stat cannot be read: {text}")))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// utime and stime: fields 14 and 15, counted behind the name, which may hold anything.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// CPU time of several processes together.
///
/// # Errors
/// Where one does not exist.
pub fn cpu_time_of_all(pids: &[u32]) -> Result<Duration, BenchError> {
    pids.iter().map(|pid| cpu_time(*pid)).sum()
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// The most that was ever resident, or since [`reset_peak`].
    pub peak: u64,
}

/// Memory of several processes together.
///
/// # Errors
/// Where one does not exist.
pub fn memory_of_all(pids: &[u32]) -> Result<Memory, BenchError> {
    let mut all = Memory::default();
    for pid in pids {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).map_err(BenchError::io(path))?;
        all.resident += status_field(&text, "VmRSS:");
        all.peak += status_field(&text, "VmHWM:");
    }
    Ok(all)
}

fn status_field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Starts [`Memory::peak`] anew at what is resident now.
///
/// # Errors
/// Where the process belongs to somebody else.
pub fn reset_peak(pid: u32) -> Result<(), BenchError> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").map_err(BenchError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b) c) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0 20 0 1 0 9 0 0";
        assert_eq!(parse_cpu_ticks(stat), Some(12));
        assert_eq!(parse_cpu_ticks("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_memory_and_can_reset_its_peak() {
        let pid = std::process::id();
        let memory = memory_of_all(&[pid]).unwrap();
        assert!(memory.resident > 100_000 && memory.peak >= memory.resident, "{memory:?}");
        reset_peak(pid).unwrap();
        assert!(cpu_time(pid).is_ok());
        assert!(cpu_time(u32::MAX).is_err());
    }
}
