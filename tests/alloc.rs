//! Heap allocations of a keep-alive request in the steady state, counted on the simulated network.
//!
//! The simulation allocates too: an exchange through the gateway is two conversations on it, so
//! two exchanges of a client with an endpoint directly are subtracted.

#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says on stderr what it has measured"
)]

use icount::Exchanges;

const GET: &[u8] = b"GET /users/42?fields=name HTTP/1.1\r\nHost: api.example.com\r\n\
User-Agent: curl/8.5.0\r\nAccept: */*\r\nCookie: session=0123456789abcdef\r\n\r\n";

const POST: &[u8] = b"POST /users HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 16\r\n\r\n\
0123456789abcdef";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\
Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\nhello world\n";

/// Between two requests, in microseconds: time passes, and deadlines with it.
const PAUSE_MICROS: u64 = 100;
/// The largest allowed number of allocations of a request. The goal and the present number are 0; a
/// filter or one more header may be worth one.
const ALLOCATIONS_MAX: f64 = 4.0;

/// Exchanges of `request`, one after the other.
fn exchanges(request: &[u8], count: u32) -> Exchanges {
    Exchanges {
        request: request.to_vec(),
        response: RESPONSE.to_vec(),
        count,
        pause_micros: PAUSE_MICROS,
        reports_come_back: true,
    }
}

/// Allocations of a run and all around it.
fn allocations(run: &Exchanges, through_gateway: bool) -> u64 {
    let run = || {
        if through_gateway {
            assert_eq!(run.through_worker(), Some(u64::from(run.count)));
        } else {
            run.direct().expect("it answers");
        }
    };
    allocation_counter::measure(run).count_total
}

/// The allocations that one more exchange adds.
fn each(request: &'static [u8], through_gateway: bool) -> f64 {
    // Long enough to include allocations that happen once in a while.
    let short = allocations(&exchanges(request, 1_000), through_gateway);
    let long = allocations(&exchanges(request, 11_000), through_gateway);
    // Buffers and tasks at least are allocated at the start: it does count.
    assert!(short > 10, "{short}");
    let more = long.saturating_sub(short);
    #[expect(clippy::cast_precision_loss, reason = "it is far below 2^52")]
    let more = more as f64;
    more / 10_000.0
}

#[test]
fn a_keep_alive_request_allocates_next_to_nothing() {
    for (name, request) in [("GET", GET), ("POST", POST)] {
        let (gateway, direct) = (each(request, true), each(request, false));
        let own = gateway - 2.0 * direct;
        eprintln!(
            "{name}: {own:.3} allocations a request ({gateway:.3} through the gateway, {direct:.3} \
             of each of two conversations on the simulated network)"
        );
        assert!(own <= ALLOCATIONS_MAX, "{name}: {own}");
    }
}

#[test]
fn a_report_allocates_nothing() {
    // In each second there are a request and, if the blocks come back, a report.
    let each = |reports_come_back| {
        let run = |count| Exchanges {
            pause_micros: 1_000_000,
            reports_come_back,
            ..exchanges(GET, count)
        };
        // The first run of a process makes the tables that live as long as it does.
        let short = allocations(&run(100), true).min(allocations(&run(100), true));
        allocations(&run(1_100), true).saturating_sub(short)
    };
    let (with, without) = (each(true), each(false));
    assert!(with <= without + 100, "{with} with 1,000 reports, {without} without");
}
