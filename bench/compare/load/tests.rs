//! Parses captured output of wrk 4.1.0 and h2load 1.52.0, of good and bad runs.

use super::*;

const WRK: &str = "Running 2s test @ http://127.0.0.1:18090/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   404.36us    0.87ms  20.74ms   98.75%
    Req/Sec   161.05k    33.77k  192.51k    85.00%
  Latency Distribution
     50%  315.00us
     75%  358.00us
     90%  468.00us
     99%    1.60ms
  320497 requests in 2.01s, 46.76MB read
Requests/sec: 159441.01
Transfer/sec:     23.26MB
";

const WRK_WITH_ERRORS: &str = "Running 1s test @ http://127.0.0.1:18091/
  1 threads and 8 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   641.21us    1.31ms  14.55ms   86.47%
    Req/Sec    40.54k     2.77k   45.46k    71.43%
  Latency Distribution
     50%   60.00us
     75%  417.00us
     90%    2.47ms
     99%    5.66ms
  28176 requests in 1.10s, 4.89MB read
  Socket errors: connect 0, read 16, write 24296, timeout 0
  Non-2xx or 3xx responses: 28176
Requests/sec:  25618.27
Transfer/sec:      4.45MB
";

const H2LOAD: &str = "starting benchmark...
spawning thread #0: 64 total client(s). Timing-based test with 0s of warm-up time and 2s of main duration for measurements.
progress: 93% of clients started
Application protocol: http/1.1
Stopped all clients for thread #0

finished in 2.00s, 6400.00 req/s, 956.25KB/s
requests: 12800 total, 12864 started, 12800 done, 12800 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 12800 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.87MB (1958400) total, 1.32MB (1382400) headers (space savings 0.00%), 75.00KB (76800) data
                     min         max         mean         sd        +/- sd
time for request:      332us      1.41ms       674us       167us    64.84%
req/s           :      99.90       99.94       99.92        0.01    59.38%
";

const H2LOAD_WITH_ERRORS: &str = "starting benchmark...

finished in 1.01s, 800.00 req/s, 142.19KB/s
requests: 800 total, 808 started, 800 done, 0 succeeded, 800 failed, 0 errored, 0 timeout
status codes: 0 2xx, 0 3xx, 0 4xx, 800 5xx
";

#[test]
fn a_good_wrk_run_is_read() {
    let load = parse_wrk(WRK).expect("a run");
    let expected =
        Load { requests: 320_497, seconds: 2.01, p50_us: 315.0, p99_us: 1600.0, errors: 0 };
    assert_eq!(load, expected);
}

#[test]
fn errors_of_sockets_and_of_status_add_up() {
    let load = parse_wrk(WRK_WITH_ERRORS).expect("a run");
    assert_eq!((load.requests, load.errors), (28_176, 16 + 24_296 + 28_176));
}

#[test]
fn wrk_that_could_not_connect_is_no_run() {
    assert_eq!(parse_wrk("unable to connect to 127.0.0.1:18099 Connection refused\n"), None);
}

#[test]
fn times_have_units() {
    let times = ["5.00us", "1.60ms", "2.50s", "1.50m"].map(wrk_time_us);
    assert_eq!(times, [Some(5.0), Some(1600.0), Some(2_500_000.0), Some(90_000_000.0)]);
    assert_eq!(wrk_time_us("12"), None);
}

#[test]
fn a_good_h2load_run_is_read_with_quantiles_from_its_log() {
    let log: String = (1..=100).map(|us| format!("1795501095028255\t200\t{us}\n")).collect();
    let load = parse_h2load(H2LOAD, &log).expect("a run");
    let expected = Load { requests: 12_800, seconds: 2.0, p50_us: 51.0, p99_us: 100.0, errors: 0 };
    assert_eq!(load, expected);
}

#[test]
fn h2load_counts_bad_statuses_as_errors() {
    let log = "1795501992856290\t503\t298\n1795501992856290\t-1\t7\n";
    let load = parse_h2load(H2LOAD_WITH_ERRORS, log).expect("a run");
    assert_eq!((load.requests, load.errors, load.p99_us), (800, 800, 298.0));
}

#[test]
fn an_empty_log_has_no_quantiles() {
    let load = parse_h2load(H2LOAD, "").expect("a run");
    assert!(load.p50_us.is_nan());
}
