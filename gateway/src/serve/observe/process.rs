//! Process: what the system says of this process, from `/proc/self`.
//!
//! Fails silently: a number that cannot be read is left out.

use std::fs;

/// What could be read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    /// Processor time used, in seconds, by user and system together.
    pub(super) cpu_seconds: Option<f64>,
    /// Memory in use, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub(super) virtual_bytes: Option<u64>,
    /// Open file descriptors.
    pub(super) open_files: Option<u64>,
    /// The most file descriptors there may be.
    pub(super) most_files: Option<u64>,
    /// Threads.
    pub(super) threads: Option<u64>,
}

impl Process {
    /// Reads all of it now.
    #[must_use]
    pub(super) fn read() -> Self {
        let mut process = Self::default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |name: &str| number(&status, name).map(|size| size.saturating_mul(1024));
        process.resident_bytes = kibibytes("VmRSS:");
        process.virtual_bytes = kibibytes("VmSize:");
        process.threads = number(&status, "Threads:");
        // The directory lists the descriptor that it is read through as well.
        let files = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
        process.open_files = files.and_then(|count| u64::try_from(count.saturating_sub(1)).ok());
        process.most_files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        let seconds = u64::try_from(spent.tv_sec).ok();
        let nanoseconds = u32::try_from(spent.tv_nsec).ok();
        process.cpu_seconds = seconds.zip(nanoseconds).map(|(seconds, nanoseconds)| {
            std::time::Duration::new(seconds, nanoseconds).as_secs_f64()
        });
        process
    }
}

/// The number behind `name` in a file of lines such as `VmRSS:  1234 kB`.
fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_numbers() {
        let process = Process::read();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_files.is_some_and(|count| count >= 3));
        assert!(process.most_files >= process.open_files);
        assert!(process.cpu_seconds.is_some_and(|seconds| seconds > 0.0));
        assert!(process.threads.is_some_and(|count| count >= 1));
    }
}
