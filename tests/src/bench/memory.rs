//! Memory of processes, bytes of folders and of the loopback, as the system counts them.

use std::fs;
use std::path::Path;

/// Resident memory of a process, in bytes.
pub(super) fn resident_bytes(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))?;
    parse_resident(&text).ok_or_else(|| format!("{path}: expected a line VmRSS"))
}

/// proc(5): `VmRSS:      1234 kB`.
fn parse_resident(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// Bytes of all files below a folder, as long as they are.
pub(super) fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let bytes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        Ok(meta) => meta.len(),
        // Gone meanwhile: a file that was renamed or compacted away.
        Err(_) => 0,
    });
    bytes.sum()
}

/// Bytes that went over the loopback since the machine started: agents to replicas, replicas among
/// themselves, TLS and TCP included.
pub(super) fn loopback_bytes() -> Result<u64, String> {
    let path = "/proc/net/dev";
    let text = fs::read_to_string(path).map_err(|why| format!("{path}: {why}"))?;
    parse_loopback(&text).ok_or_else(|| format!("{path}: expected a line lo"))
}

/// proc(5): interface, then received bytes first.
fn parse_loopback(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(parse_resident("VmPeak:\t 9 kB\nVmRSS:\t    26 kB\n"), Some(26 * 1_024));
        assert_eq!(parse_resident("VmSize: 3 kB"), None);
        assert_eq!(parse_loopback("Inter-| x\n    lo: 1234 5 0\n  eth0: 7 1"), Some(1_234));
    }

    #[test]
    fn a_folder_is_as_large_as_its_files() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(dir.path().join("deep")).expect("a folder");
        fs::write(dir.path().join("deep/one"), [0; 70]).expect("a file");
        fs::write(dir.path().join("two"), [0; 7]).expect("a file");
        assert_eq!(bytes_below(dir.path()), 77);
        assert_eq!(bytes_below(&dir.path().join("none")), 0);
    }
}
