//! Reads `/proc`: the resources that processes used, and the load of a CPU.
//!
//! Parsing is apart from reading, so that it is tested with captured text. A process that ended
//! between two looks counts as nothing; callers notice its end by other means.

use std::fs;
use std::path::Path;

use crate::Error;

/// A process and everything that descends from it, parents first.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut links = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(child) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent_of(&stat) {
            links.push((parent, child));
        }
    }
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(links.iter().filter(|link| link.0 == parent).map(|link| link.1));
        next += 1;
    }
    family
}

/// Nanoseconds on a CPU of all threads of these processes (`schedstat`, first field). A thread that
/// ended is not counted any more: nothing measured here ends threads under load.
pub(crate) fn cpu_ns(pids: &[u32]) -> u64 {
    let mut sum = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            sum += schedstat_ns(&text).unwrap_or(0);
        }
    }
    sum
}

/// Resident memory of all these processes, in bytes.
pub(crate) fn resident_bytes(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .filter_map(|text| status_resident_bytes(&text))
        .sum()
}

/// Fails when there is no such process.
pub(crate) fn need_process(pid: u32) -> Result<(), Error> {
    if Path::new(&format!("/proc/{pid}/status")).exists() {
        return Ok(());
    }
    Err(Error::new(format!("there is no process {pid}: give --pid the id of the gateway")))
}

/// The time of a CPU since the machine started, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTicks {
    idle: u64,
    stolen: u64,
    total: u64,
}

impl CpuTicks {
    /// Of CPU number `cpu`, now.
    pub(crate) fn now(cpu: usize) -> Result<Self, Error> {
        let text = fs::read_to_string("/proc/stat").map_err(Error::doing("read /proc/stat"))?;
        Self::parse(&text, cpu).ok_or_else(|| Error::new(format!("/proc/stat has no CPU {cpu}")))
    }

    /// The part of the time from `earlier` to here that was not idle, 0 to 1.
    pub(crate) fn busy_since(self, earlier: Self) -> f64 {
        1.0 - self.part(earlier, |ticks| ticks.idle)
    }

    /// The part of the time that the hypervisor gave to others, 0 to 1.
    pub(crate) fn stolen_since(self, earlier: Self) -> f64 {
        self.part(earlier, |ticks| ticks.stolen)
    }

    fn part(self, earlier: Self, field: impl Fn(&Self) -> u64) -> f64 {
        let total = self.total.saturating_sub(earlier.total).max(1);
        field(&self).saturating_sub(field(&earlier)) as f64 / total as f64
    }

    fn parse(text: &str, cpu: usize) -> Option<Self> {
        let name = format!("cpu{cpu} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name))?;
        let ticks: Vec<u64> =
            line.split_ascii_whitespace().filter_map(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; guest time is part of user time.
        let (idle, waiting, stolen) = (*ticks.get(3)?, *ticks.get(4)?, *ticks.get(7)?);
        Some(Self { idle: idle + waiting, stolen, total: ticks.iter().take(8).sum() })
    }
}

/// The name of the processor, and the kernel, for the head of a report.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
        .unwrap_or("unknown processor");
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {count} CPUs, Linux {}", kernel.trim())
}

fn parent_of(stat: &str) -> Option<u32> {
    // The name in parentheses may hold spaces and parentheses: fields are counted from the last
    // one.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn schedstat_ns(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

fn status_resident_bytes(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  85251 0 7313 90605 1323 0 137 1153 0 0\n\
        cpu0 41262 0 3322 47284 428 0 15 567 0 0\n\
        cpu1 43989 0 3991 43320 895 0 122 585 0 0\n\
        intr 470271 0 0\n";

    #[test]
    fn the_parent_is_found_behind_a_name_with_parentheses() {
        let stat = "12 (a) b) S 7 12 12 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1 1 1";
        assert_eq!(parent_of(stat), Some(7));
    }

    #[test]
    fn time_on_cpu_is_the_first_field() {
        assert_eq!(schedstat_ns("175008946 10010398 422\n"), Some(175_008_946));
    }

    #[test]
    fn resident_memory_comes_in_kib() {
        assert_eq!(status_resident_bytes("VmHWM:\t 99 kB\nVmRSS:\t    12 kB\n"), Some(12_288));
    }

    #[test]
    fn busy_time_is_all_time_that_is_not_idle() {
        let before = CpuTicks::parse(STAT, 1).expect("cpu1");
        let later = STAT.replace("43989 0 3991 43320 895", "44064 0 3991 43340 900");
        let after = CpuTicks::parse(&later, 1).expect("cpu1");
        assert!((after.busy_since(before) - 0.75).abs() < 1e-9);
        assert!(after.stolen_since(before).abs() < 1e-9);
        assert_eq!(CpuTicks::parse(STAT, 2), None);
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pids = family(std::process::id());
        assert!(cpu_ns(&pids) > 0);
        assert!(resident_bytes(&pids) > 0);
        assert!(need_process(u32::MAX).is_err());
    }
}
