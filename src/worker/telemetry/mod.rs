//! What a core counts. Plain cells, core-local; the control thread gets sums.

pub mod histogram;
pub mod record;
pub mod report;
pub mod reporter;

use std::cell::Cell;
use std::fmt;
use std::ops::AddAssign;

/// A count that one core keeps.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.set(self.0.get() + n);
    }

    /// The count so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.get()
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A core's counts.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }

        /// Counts as they stood at one moment, on one core or summed over several.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Totals {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// The counts as they stand.
            #[must_use]
            pub fn totals(&self) -> Totals {
                Totals { $($name: self.$name.total(),)* }
            }
        }

        impl AddAssign for Totals {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

counters! {
    /// Exchanges that ended, however they ended.
    requests,
    /// Exchanges that the gateway answered itself.
    replies,
    /// Exchanges that ended without a complete response.
    broken,
    /// Second tries, after a failed connect or on a connection that turned out dead.
    retries,
    /// Client connections accepted.
    client_connections,
    /// Accepts that failed.
    accept_errors,
    /// Of these, for want of descriptors.
    accept_errors_descriptors,
    /// Of these, for want of the kernel's memory.
    accept_errors_memory,
    /// Times that accepting paused because descriptors or memory had run out.
    accept_pauses,
    /// Client connections closed at once, since their client had too many.
    client_refused,
    /// Client connections closed while they were idle, since others needed what they held.
    client_shed,
    /// Connections to endpoints that could not be made for want of descriptors, memory or ports.
    connects_exhausted,
    /// Connections opened to endpoints.
    endpoint_opened,
    /// Requests sent on a connection from the pool.
    endpoint_reused,
    /// Tunnels that began.
    tunnels,
    /// Bytes that tunnels have passed on from clients to endpoints.
    tunnel_bytes_in,
    /// Bytes that tunnels have passed on from endpoints to clients.
    tunnel_bytes_out,
    /// Connections that ended by a panic.
    panics,
    /// Timers asked of the runtime by the deadline wheel.
    timers,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sends = self.endpoint_opened + self.endpoint_reused;
        #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
        let share = if sends == 0 { 0.0 } else { self.endpoint_reused as f64 / sends as f64 };
        write!(
            f,
            "{} requests ({} answered by the gateway, {} broken, {} retried) on {} client \
             connections; {} endpoint connections opened, {:.3} % of requests on a reused one; {} \
             panics, {} accept errors, {} timers",
            self.requests,
            self.replies,
            self.broken,
            self.retries,
            self.client_connections,
            self.endpoint_opened,
            share * 100.0,
            self.panics,
            self.accept_errors,
            self.timers,
        )
    }
}
