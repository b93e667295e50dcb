//! The bounds on frames that cost us work and bring nothing: a bucket per kind and connection.
//!
//! A bucket holds so many frames at once and fills again with time, so a flood is found whether it comes in a
//! burst or is paced. The rates are far above those of browsers, gRPC and load generators.

use super::breach::Breach;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Frames that may still come, in thousandths.
    left: u32,
}

/// A kind of frame that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    /// The client resets a stream that it has opened. A browser that leaves a page resets all that it has
    /// open: 100 to 128.
    Reset,
    /// We reset a stream because of the client.
    MadeReset,
    /// SETTINGS. A client sends a few in the life of a connection.
    Settings,
    /// PING. gRPC sends one per window of data to measure the path.
    Ping,
    /// PRIORITY. Old browsers send a few per stream.
    Priority,
    /// `WINDOW_UPDATE` beyond [`WINDOWS_PER_DATA`] for each frame of DATA.
    Window,
    /// DATA without data that does not end its stream.
    EmptyData,
    /// A frame of a kind that we do not know.
    Unknown,
}

/// Kind, frames at once, frames per second, and the fault beyond.
const BOUNDS: [(u32, u32, Breach); 8] = [
    (256, 100, Breach::ResetFlood),
    (128, 50, Breach::MadeResetFlood),
    (32, 4, Breach::SettingsFlood),
    (100, 50, Breach::PingFlood),
    (1024, 200, Breach::PriorityFlood),
    (1024, 200, Breach::WindowFlood),
    (100, 20, Breach::EmptyDataFlood),
    (100, 20, Breach::UnknownFlood),
];

/// Updates of windows that a frame of DATA justifies: one of the stream, one of the connection, and as many for
/// a client that gives windows back in halves.
pub(super) const WINDOWS_PER_DATA: u32 = 4;

/// The buckets of a connection.
#[derive(Debug)]
pub(super) struct FloodGuard {
    buckets: [Bucket; BOUNDS.len()],
    filled_at_micros: u64,
}

impl FloodGuard {
    pub(super) fn new(now_micros: u64) -> Self {
        let buckets = BOUNDS.map(|(at_once, ..)| Bucket { left: at_once * 1000 });
        Self { buckets, filled_at_micros: now_micros }
    }

    /// Counts a frame.
    pub(super) fn count(&mut self, flood: Flood, now_micros: u64) -> Result<(), Breach> {
        self.fill(now_micros);
        let at = flood as usize;
        let (Some(bucket), Some((.., fault))) = (self.buckets.get_mut(at), BOUNDS.get(at)) else {
            return Ok(());
        };
        bucket.left = bucket.left.checked_sub(1000).ok_or(*fault)?;
        Ok(())
    }

    /// A frame of DATA goes out.
    pub(super) fn data_sent(&mut self) {
        if let Some(bucket) = self.buckets.get_mut(Flood::Window as usize) {
            // The number stays far from the end of the number: a long download earns no licence.
            bucket.left = (bucket.left + WINDOWS_PER_DATA * 1000).min(64 << 20);
        }
    }

    fn fill(&mut self, now_micros: u64) {
        let millis = now_micros.saturating_sub(self.filled_at_micros) / 1000;
        if millis == 0 {
            return;
        }
        self.filled_at_micros += millis * 1000;
        let millis = u32::try_from(millis).unwrap_or(u32::MAX);
        for (bucket, (at_once, per_second, _)) in self.buckets.iter_mut().zip(BOUNDS) {
            let full = bucket.left.max(at_once * 1000);
            bucket.left = bucket.left.saturating_add(millis.saturating_mul(per_second)).min(full);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Flood; BOUNDS.len()] = [
        Flood::Reset,
        Flood::MadeReset,
        Flood::Settings,
        Flood::Ping,
        Flood::Priority,
        Flood::Window,
        Flood::EmptyData,
        Flood::Unknown,
    ];

    #[test]
    fn a_burst_ends_at_its_bound_and_is_forgiven_with_time() {
        for (flood, (at_once, per_second, fault)) in ALL.into_iter().zip(BOUNDS) {
            let mut guard = FloodGuard::new(0);
            assert!((0..at_once).all(|_| guard.count(flood, 0).is_ok()), "{flood:?}");
            assert_eq!(guard.count(flood, 0), Err(fault));
            assert!((0..per_second).all(|_| guard.count(flood, 1_000_000).is_ok()), "{flood:?}");
            assert_eq!(guard.count(flood, 1_000_000), Err(fault));
        }
    }

    #[test]
    fn a_paced_flood_is_found_too() {
        let mut guard = FloodGuard::new(0);
        // Every 0.3 ms, as no burst limit finds it.
        let found = (0..2000).find(|at| guard.count(Flood::Reset, at * 300).is_err());
        assert!(found.is_some_and(|at| at < 300), "{found:?}");
    }

    #[test]
    fn a_download_justifies_updates_of_windows() {
        let mut guard = FloodGuard::new(0);
        for _ in 0..10_000 {
            guard.data_sent();
            assert_eq!(guard.count(Flood::Window, 0), Ok(()));
            assert_eq!(guard.count(Flood::Window, 0), Ok(()));
        }
    }
}
