//! The faults of a simulated network, and its only source of chance.
//!
//! [`Faults`] lists the faults that may happen, and the seed of the run decides when. Every draw comes
//! from [`Random`]; a fault that is off draws nothing.

use std::cell::Cell;
use std::ops::RangeInclusive;

/// How a simulated network departs from a perfect one. Chances are in thousandths.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Whether the seed decides everything that the contract leaves open: which runnable task goes
    /// first, which of two events that are due at once, whether an operation completes at once or a
    /// little later, whether a cancel wins against bytes that have arrived, how an aborted operation
    /// resolves, whether a reset destroys bytes that had arrived or were on their way. If not: first
    /// come first served, at once, bytes win, with an error, and no byte is destroyed.
    pub seeded_choices: bool,
    /// The time of a segment from one side to the other.
    pub latency_micros: RangeInclusive<u64>,
    /// Chance that a segment takes `stall_micros` longer, like a lost segment that is sent again.
    pub stall_permille: u32,
    /// The extra time of such a segment.
    pub stall_micros: RangeInclusive<u64>,
    /// The delay of the end of a sleep; at most 1,000 by the contract of `Net`.
    pub sleep_late_micros: RangeInclusive<u64>,
    /// Bytes that fit into one direction of a connection, drawn for each.
    pub capacity_bytes: RangeInclusive<usize>,
    /// Chance that a read gives fewer bytes than have arrived.
    pub short_read_permille: u32,
    /// Chance that a write takes fewer bytes than fit.
    pub short_write_permille: u32,
    /// Chance that a wait for readiness ends without cause, at once or later.
    pub stale_readiness_permille: u32,
    /// Chance, for each read and write of any host, that the connection is reset, at once or later.
    pub reset_permille: u32,
    /// Chance that an accept fails, with the connection left in the queue.
    pub accept_error_permille: u32,
    /// Chance that a connect is refused.
    pub connect_refused_permille: u32,
    /// Chance that a connect takes `connect_slow_micros` longer.
    pub connect_slow_permille: u32,
    /// The extra time of such a connect.
    pub connect_slow_micros: RangeInclusive<u64>,
    /// The length of a listener's queue. A connect to a full queue tries again after a second, then
    /// after two, then after four.
    pub backlog_max: usize,
}

impl Faults {
    /// A perfect network: everything takes 20 us and is done in order.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            seeded_choices: false,
            latency_micros: 20..=20,
            stall_permille: 0,
            stall_micros: 0..=0,
            sleep_late_micros: 0..=0,
            capacity_bytes: 65_536..=65_536,
            short_read_permille: 0,
            short_write_permille: 0,
            stale_readiness_permille: 0,
            reset_permille: 0,
            accept_error_permille: 0,
            connect_refused_permille: 0,
            connect_slow_permille: 0,
            connect_slow_micros: 0..=0,
            backlog_max: 1_024,
        }
    }

    /// Faults that must not change the outcome: other orders, delays below a second, partial reads and
    /// writes, stale readiness, small pipes. No byte gets lost.
    #[must_use]
    pub const fn benign() -> Self {
        Self {
            seeded_choices: true,
            latency_micros: 1..=2_000,
            stall_permille: 10,
            stall_micros: 10_000..=300_000,
            sleep_late_micros: 0..=1_000,
            capacity_bytes: 1..=65_536,
            short_read_permille: 300,
            short_write_permille: 300,
            stale_readiness_permille: 100,
            ..Self::none()
        }
    }

    /// As [`Faults::benign`]; in addition, connections break, connects are refused or slow, and accepts
    /// fail.
    #[must_use]
    pub const fn some() -> Self {
        Self {
            reset_permille: 10,
            accept_error_permille: 20,
            connect_refused_permille: 30,
            connect_slow_permille: 30,
            connect_slow_micros: 10_000..=5_000_000,
            ..Self::benign()
        }
    }

    /// Some of the faults of [`Faults::some`], weak or strong, drawn by `seed`. Over many seeds this
    /// finds errors that need one fault often and another never.
    #[must_use]
    pub fn drawn(seed: u64) -> Self {
        // The run starts from the same seed, so these draws need a sequence of their own.
        let random = Random::new(seed ^ 0x5EED_0FFA_0175);
        let chance = |strongest: u32| match random.below(4) {
            0 | 1 => 0,
            2 => strongest.div_ceil(10),
            _ => strongest,
        };
        let most = Self::some();
        Self {
            seeded_choices: random.below(8) != 0,
            latency_micros: match random.below(4) {
                0 => 1..=1,
                1 => 1..=50,
                2 => 1..=2_000,
                _ => 1..=50_000,
            },
            stall_permille: chance(50),
            sleep_late_micros: if random.chance(500) { 0..=1_000 } else { 0..=0 },
            capacity_bytes: match random.below(4) {
                0 => 1..=16,
                1 => 1..=65_536,
                2 => 4_096..=65_536,
                _ => 65_536..=65_536,
            },
            short_read_permille: chance(800),
            short_write_permille: chance(800),
            stale_readiness_permille: chance(300),
            reset_permille: chance(20),
            accept_error_permille: chance(50),
            connect_refused_permille: chance(100),
            connect_slow_permille: chance(100),
            backlog_max: if random.chance(500) { 1 } else { 1_024 },
            ..most
        }
    }
}

/// A small generator (splitmix64): each draw is the next number of one sequence.
#[derive(Debug)]
pub struct Random(Cell<u64>);

impl Random {
    /// The sequence of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// 64 random bits.
    pub fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: usize) -> usize {
        let drawn = self.next() % (bound as u64).max(1);
        usize::try_from(drawn).unwrap_or(0)
    }

    /// A number of `range`. A range with only one number draws nothing.
    pub fn within(&self, range: &RangeInclusive<u64>) -> u64 {
        let span = range.end().saturating_sub(*range.start());
        if span == 0 {
            return *range.start();
        }
        range.start() + self.next() % span.saturating_add(1)
    }

    /// `true` in `permille` of 1,000 draws. A chance of 0 or 1,000 draws nothing.
    pub fn chance(&self, permille: u32) -> bool {
        match permille {
            0 => false,
            1_000.. => true,
            _ => self.next() % 1_000 < u64::from(permille),
        }
    }
}
