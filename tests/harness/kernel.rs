//! What the kernel knows of connections: whether what one side did has reached the other.
//!
//! A `close` or `send` that has returned need not have arrived, even on loopback: on a busy machine
//! the kernel delivers packets a little later.

/// `TCP_ESTABLISHED`: no FIN has come.
const ESTABLISHED: &str = "01";

/// One end of a connection, as a line of `/proc/net/tcp`.
struct Row {
    local_port: u16,
    remote_port: u16,
    established: bool,
    /// Bytes that the other side has not acknowledged.
    unacknowledged: u32,
}

/// Whether no end of a connection to `port` is open both ways: all have been closed by one side,
/// and the other's kernel knows.
pub(super) fn all_closed_to(port: u16) -> bool {
    rows().iter().all(|row| row.remote_port != port || !row.established)
}

/// Whether all that was sent from `local_port` to `remote_port` has arrived.
pub(super) fn all_arrived(local_port: u16, remote_port: u16) -> bool {
    let ours = |row: &&Row| (row.local_port, row.remote_port) == (local_port, remote_port);
    rows().iter().filter(ours).all(|row| row.unacknowledged == 0)
}

fn rows() -> Vec<Row> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).filter_map(row).collect()
}

/// `sl local_address rem_address st tx_queue:rx_queue ...`, numbers in hexadecimal.
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(fields.next()?.split_once(':')?.1, 16).ok();
    let (local_port, remote_port) = (port()?, port()?);
    let established = fields.next()? == ESTABLISHED;
    let unacknowledged = u32::from_str_radix(fields.next()?.split_once(':')?.0, 16).ok()?;
    Some(Row { local_port, remote_port, established, unacknowledged })
}
