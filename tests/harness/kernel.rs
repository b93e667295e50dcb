//! The kernel's view of connections: it tells whether an action of one side has reached the other.
//!
//! A `close` or `send` that has returned need not have arrived, even on loopback: on a busy machine
//! the kernel delivers packets a little later.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// `TCP_ESTABLISHED`: no FIN has come.
const ESTABLISHED: &str = "01";

/// One end of a connection, as a line of `/proc/net/tcp`.
struct Row {
    remote_port: u16,
    established: bool,
}

/// Whether no end of a connection to `port` is open both ways: all have been closed by one side,
/// and the other's kernel knows.
pub(super) fn all_closed_to(port: u16) -> bool {
    rows().iter().all(|row| row.remote_port != port || !row.established)
}

/// Keeps this thread on the first CPU that it may use.
pub(crate) fn stay_on_the_first_cpu() {
    let permitted = permitted();
    let first = (0..CpuSet::count()).find(|&cpu| permitted.is_set(cpu).unwrap_or(false));
    stay_on(first);
}

/// Keeps this thread on the last CPU. The packets of threads on one CPU arrive in the order in
/// which they were sent, on any connection: a CPU delivers one loopback packet after another.
pub(crate) fn stay_on_one_cpu() {
    let permitted = permitted();
    let last = (0..CpuSet::count()).rfind(|&cpu| permitted.is_set(cpu).unwrap_or(false));
    stay_on(last);
}

fn permitted() -> CpuSet {
    sched_getaffinity(Pid::from_raw(0)).unwrap()
}

fn stay_on(cpu: Option<usize>) {
    let mut one = CpuSet::new();
    one.set(cpu.expect("this thread runs somewhere")).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

fn rows() -> Vec<Row> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).filter_map(row).collect()
}

/// `sl local_address rem_address st ...`, numbers in hexadecimal.
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_whitespace().skip(2);
    let remote_port = u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok()?;
    Some(Row { remote_port, established: fields.next()? == ESTABLISHED })
}
