//! Files that are renamed, full, or not written by us alone; and what a line costs.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use engine::address::ClientAddress;
use engine::reason::Reason;
use engine::snapshot::ListenerId;
use engine::stage::Stage;
use proto::head::Version;
use worker::failure::{Failure, Kind};
use worker::telemetry::record::{
    Destination, DestinationKey, EndpointAddress, RECORDS_MAX, Record, RecordTexts, Times,
};
use worker::tls::session::{TlsInfo, TlsVersion};

use super::*;

/// 2000-10-10T13:55:36.001234Z
const TIME: u64 = 971_186_136_001_234;

const PATIENCE: Duration = Duration::from_secs(20);

/// The client with this address and port.
pub(super) fn at(text: &str) -> ClientAddress {
    text.parse::<SocketAddr>().unwrap().into()
}

/// What a test says of an exchange.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) client: ClientAddress,
    pub(super) method: Vec<u8>,
    pub(super) host: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) status: u16,
    pub(super) reason: Option<Reason>,
    pub(super) failure: Option<Failure>,
    pub(super) upstream: Vec<u8>,
    pub(super) tries: u8,
    pub(super) times: Times,
    pub(super) consumer: &'static str,
    pub(super) user_agent: Vec<u8>,
    pub(super) referer: Vec<u8>,
}

impl Default for Exchange {
    fn default() -> Self {
        Self {
            client: at("192.0.2.7:54321"),
            method: b"GET".to_vec(),
            host: b"api.example.com".to_vec(),
            path: b"/users/1?a=b".to_vec(),
            status: 200,
            reason: None,
            failure: Some(Failure::endpoint(Stage::Connect, Kind::Broken(111))),
            upstream: b"users".to_vec(),
            tries: 2,
            times: Times { head: 1, connect: 20, first_byte: 300, done: 4000 },
            consumer: "alice",
            user_agent: b"curl/8.5.0".to_vec(),
            referer: b"https://example.com/".to_vec(),
        }
    }
}

impl Exchange {
    /// A client that never sent a whole head.
    pub(super) fn unreadable() -> Self {
        Self {
            client: at("[2001:db8::1]:54321"),
            method: Vec::new(),
            host: Vec::new(),
            path: Vec::new(),
            status: 408,
            reason: Some(Reason::ClientTimeout),
            failure: None,
            upstream: Vec::new(),
            tries: 0,
            times: Times { done: 10_000_000, ..Times::default() },
            consumer: "",
            user_agent: Vec::new(),
            referer: Vec::new(),
        }
    }

    pub(super) fn batch(&self) -> Records {
        let mut records = Records::default();
        self.add_to(&mut records);
        records
    }

    fn add_to(&self, records: &mut Records) {
        let tried = self.tries > 0;
        let key = DestinationKey { endpoint: Some(self.tries.into()), ..DestinationKey::default() };
        let destination = records.put_destination(key, |records| Destination {
            route: records.put(&self.upstream),
            upstream: records.put(&self.upstream),
            endpoint: match tried {
                true => EndpointAddress::Ip("10.0.0.1:9000".parse().unwrap()),
                false => EndpointAddress::None,
            },
            config_version: 7,
        });
        let record = Record {
            tls: Some(TlsInfo {
                version: TlsVersion::Tls13,
                cipher: "TLS_AES_128_GCM_SHA256",
                resumed: false,
            }),
            unix_micros: TIME,
            texts: records.put_texts(&RecordTexts {
                request_id: b"0123456789abcdef0123456789abcdef",
                method: &self.method,
                host: &self.host,
                path: &self.path,
                consumer: self.consumer.as_bytes(),
                user_agent: &self.user_agent,
                referer: &self.referer,
            }),
            client: self.client,
            listener: ListenerId(0),
            destination,
            version: Version::Http11,
            status: self.status,
            reason: self.reason,
            failure: self.failure,
            bytes_in: 0,
            bytes_out: if tried { 123 } else { 0 },
            tries: self.tries,
            retried_because: (self.tries > 1).then_some(Reason::EndpointReset),
            reused_connection: false,
            times: self.times,
        };
        records.records.push(record);
    }
}

pub(super) fn listeners() -> ListenerNames {
    let mut listeners = ListenerNames::default();
    listeners.learn(ListenerId(0), "web");
    listeners
}

/// A batch whose lines have these numbers as their paths.
fn numbered(numbers: std::ops::Range<usize>) -> Records {
    let mut records = Records::default();
    for number in numbers {
        let path = number.to_string().into_bytes();
        Exchange { path, ..Exchange::default() }.add_to(&mut records);
    }
    records
}

/// The numbers of the lines of a file; panics at anything that is no whole line.
fn numbers(path: &Path) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    let number = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        value["path"].as_str().unwrap().parse().unwrap()
    };
    text.lines().map(number).collect()
}

struct Log {
    log: AccessLog,
    counts: Arc<LogCounts>,
    folder: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let mut log = AccessLog::default();
        let folder = tempfile::tempdir().unwrap();
        log.configure(Some(&json_to(folder.path().join("log")))).unwrap();
        Self { counts: log.counts(), log, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn write(&mut self, numbers: std::ops::Range<usize>) {
        self.log.write(&numbered(numbers), &listeners());
    }

    fn written(&self) -> u64 {
        self.counts.written.load(Relaxed)
    }
}

fn json_to(path: PathBuf) -> config::AccessLog {
    config::AccessLog { to: LogTarget::File(path), format: LogFormat::Json }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "not in time: {what}");
        thread_yield();
    }
}

fn thread_yield() {
    std::thread::park_timeout(Duration::from_millis(1));
}

#[test]
fn every_record_is_a_line_in_its_order_and_is_counted() {
    let mut log = Log::new();
    for batch in 0..10 {
        log.write(batch * 100..batch * 100 + 100);
    }
    let (path, counts) = (log.path(), log.counts);
    assert!(log.log.finish(PATIENCE));
    assert_eq!(numbers(&path), (0..1000).collect::<Vec<_>>());
    assert_eq!((counts.written.load(Relaxed), counts.dropped.load(Relaxed)), (1000, 0));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_file_that_is_renamed_loses_no_line() {
    let mut log = Log::new();
    let (path, old) = (log.path(), log.folder.path().join("old"));
    log.write(0..100);
    eventually("the first lines", || log.written() == 100);
    fs::rename(&path, &old).unwrap();
    log.write(100..200);
    log.log.reopen();
    eventually("a new file", || path.exists());
    log.write(200..300);
    assert!(log.log.finish(PATIENCE));
    let mut all = numbers(&old);
    assert!(all.len() >= 100);
    all.extend(numbers(&path));
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_removed_is_made_again_without_being_told() {
    let mut log = Log::new();
    let path = log.path();
    fs::remove_file(&path).unwrap();
    let mut next = 0;
    eventually("a new file", || {
        log.write(next..next + 1);
        next += 1;
        path.exists()
    });
    log.write(next..next + 1);
    assert!(log.log.finish(PATIENCE));
    assert_eq!(numbers(&path).last(), Some(&next));
}

#[test]
fn a_line_that_somebody_left_in_the_middle_is_ended_first() {
    let mut log = Log::new();
    fs::File::create(log.folder.path().join("torn")).unwrap().write_all(b"half a li").unwrap();
    let path = log.folder.path().join("torn");
    log.log.configure(Some(&json_to(path.clone()))).unwrap();
    log.write(0..1);
    assert!(log.log.finish(PATIENCE));
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("half a li\n{"), "{text}");
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn a_full_disk_drops_what_does_not_fit_in_the_queue_and_stops_nobody() {
    let mut log = Log::new();
    log.log.configure(Some(&json_to("/dev/full".into()))).unwrap();
    let batches = 2 * writer::QUEUE_BYTES_MAX / 200_000;
    let begin = Instant::now();
    for _ in 0..batches {
        log.write(0..RECORDS_MAX);
    }
    let took = begin.elapsed();
    eventually("an error", || log.counts.errors.load(Relaxed) > 0);
    let dropped = log.counts.dropped.load(Relaxed);
    assert!(dropped > 0 && dropped < (batches * RECORDS_MAX) as u64, "{dropped}");
    assert_eq!(log.written(), 0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    // What could not be written is given up, and counted, once nothing more comes.
    let counts = Arc::clone(&log.counts);
    log.log.configure(None).unwrap();
    eventually("all lines given up", || {
        counts.dropped.load(Relaxed) == (batches * RECORDS_MAX) as u64
    });
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_and_one_that_is_full_waits() {
    let mut log = Log::new();
    let path = log.folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = log.log.configure(Some(&json_to(path.clone()))).unwrap_err();
    assert!(refused.contains("pipe"), "{refused}");
    // Opening for both does not wait for the other side.
    let mut reader = fs::File::options().read(true).write(true).open(&path).unwrap();
    log.log.configure(Some(&json_to(path))).unwrap();
    log.write(0..RECORDS_MAX);
    let mut text = Vec::new();
    let mut piece = vec![0; 4096];
    while text.iter().filter(|&&it| it == b'\n').count() < RECORDS_MAX {
        let count = reader.read(&mut piece).unwrap();
        text.extend_from_slice(&piece[..count]);
    }
    assert!(log.log.finish(PATIENCE));
    let copy = log.folder.path().join("copy");
    fs::write(&copy, text).unwrap();
    assert_eq!(numbers(&copy), (0..RECORDS_MAX).collect::<Vec<_>>());
}

#[test]
fn a_change_of_format_keeps_the_file_and_a_bad_path_changes_nothing() {
    let mut log = Log::new();
    let path = log.path();
    log.write(0..1);
    let nowhere = json_to(log.folder.path().join("no/such/folder"));
    let refused = log.log.configure(Some(&nowhere)).unwrap_err();
    assert!(refused.contains("no/such/folder"), "{refused}");
    log.write(1..2);
    let combined = config::AccessLog { format: LogFormat::Combined, ..json_to(path.clone()) };
    log.log.configure(Some(&combined)).unwrap();
    log.write(2..3);
    assert!(log.log.finish(PATIENCE));
    let text = fs::read_to_string(&path).unwrap();
    let firsts: Vec<_> = text.lines().filter_map(|line| line.chars().next()).collect();
    assert_eq!(firsts, ['{', '{', '1']);
}

#[test]
fn records_that_a_worker_could_not_keep_are_counted_without_a_log_too() {
    let mut log = AccessLog::default();
    let mut records = Records::default();
    records.dropped = 3;
    log.write(&records, &listeners());
    assert_eq!(log.counts().dropped.load(Relaxed), 3);
}

/// Prints what a line costs: run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the result of a measurement")]
fn what_a_line_costs() {
    let batch = numbered(0..RECORDS_MAX);
    let (names, mut clock, mut buffer) = (listeners(), Clock::default(), Vec::new());
    for layout in [Layout::json(), Layout::combined()] {
        let mut best = f64::MAX;
        for _ in 0..2000 {
            buffer.clear();
            let begin = Instant::now();
            for record in &batch.records {
                layout.write(&mut buffer, &LineSource::new(&batch, record, &names, &mut clock));
            }
            best = best.min(begin.elapsed().as_secs_f64() / RECORDS_MAX as f64);
        }
        let bytes = buffer.len() / RECORDS_MAX;
        println!("{:.0} ns a line of {bytes} bytes", best * 1e9);
    }
}
