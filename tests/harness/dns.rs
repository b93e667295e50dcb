//! A DNS server with the answers of a test, on UDP.
//!
//! It reads one question per datagram and answers by its zone (RFC 1035 section 4). A name that the
//! zone does not have is answered NXDOMAIN.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const A: u16 = 1;
const AAAA: u16 = 28;
const SRV: u16 = 33;

const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;

/// A server that a gateway is told to ask. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    answering: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Zone {
    /// The TTL and the records of each name.
    names: HashMap<String, (u32, Vec<DnsRecord>)>,
    mood: Mood,
    /// The names that were asked for.
    asked: Vec<String>,
    stopping: bool,
}

/// The type of a record, and its data.
type DnsRecord = (u16, Vec<u8>);

/// How the server treats questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It answers by its zone.
    #[default]
    Well,
    /// It answers SERVFAIL.
    Broken,
    /// It does not answer.
    Silent,
}

impl NameServer {
    /// A server whose zone is empty.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Only the end of the test waits for this.
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let address = socket.local_addr().unwrap();
        let zone = Arc::<Mutex<Zone>>::default();
        let of_thread = Arc::clone(&zone);
        let answering = thread::spawn(move || {
            let mut question = [0; 1500];
            while !lock(&of_thread).stopping {
                let Ok((len, from)) = socket.recv_from(&mut question) else { continue };
                let answer = lock(&of_thread).answer(&question[..len]);
                if let Some(answer) = answer {
                    // The asker may have given up.
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, zone, answering: Some(answering) }
    }

    /// The key of the configuration that makes a gateway ask it.
    pub(crate) fn runtime(&self) -> String {
        format!("[runtime]\nresolvers = [\"{}\"]\n", self.address)
    }

    /// From now on `name` has these addresses, IPv4 or IPv6, for `ttl` seconds.
    pub(crate) fn set_addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let records = addresses.iter().map(|it| match it.parse().unwrap() {
            IpAddr::V4(ip) => (A, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
        });
        lock(&self.zone).names.insert(name.to_owned(), (ttl, records.collect()));
    }

    /// From now on `name` is a service of these targets: priority, weight, port and name.
    pub(crate) fn set_service(&self, name: &str, ttl: u32, targets: &[(u16, u16, u16, &str)]) {
        let records = targets.iter().map(|(priority, weight, port, target)| {
            let numbers = [priority, weight, port].map(|it| it.to_be_bytes());
            let mut data = numbers.concat();
            for label in target.split('.') {
                data.push(u8::try_from(label.len()).unwrap());
                data.extend_from_slice(label.as_bytes());
            }
            data.push(0);
            (SRV, data)
        });
        lock(&self.zone).names.insert(name.to_owned(), (ttl, records.collect()));
    }

    /// From now on there is no such name.
    pub(crate) fn remove(&self, name: &str) {
        lock(&self.zone).names.remove(name);
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        lock(&self.zone).mood = mood;
    }

    /// How often it was asked for `name`.
    pub(crate) fn questions(&self, name: &str) -> usize {
        lock(&self.zone).asked.iter().filter(|it| *it == name).count()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        lock(&self.zone).stopping = true;
        let ended = self.answering.take().map(JoinHandle::join);
        assert!(thread::panicking() || ended.is_none_or(|it| it.is_ok()), "a question is wrong");
    }
}

impl Zone {
    /// The answer to a question; none: it gets none.
    fn answer(&mut self, question: &[u8]) -> Option<Vec<u8>> {
        // Behind the header of 12 bytes: labels, each with its length before it, then type and class.
        let mut at = 12;
        let mut labels = Vec::new();
        while question[at] > 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(&question[at + 1..end]).to_lowercase());
            at = end;
        }
        let name = labels.join(".");
        let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
        let asked = &question[12..at + 5];
        self.asked.push(name.clone());
        let (code, ttl, records) = match (self.mood, self.names.get(&name)) {
            (Mood::Silent, _) => return None,
            (Mood::Broken, _) => (SERVFAIL, 0, Vec::new()),
            (Mood::Well, None) => (NXDOMAIN, 0, Vec::new()),
            (Mood::Well, Some((ttl, records))) => {
                let of_kind: Vec<_> = records.iter().filter(|(it, _)| *it == kind).collect();
                (0, *ttl, of_kind)
            }
        };
        let mut answer = question[..2].to_vec();
        let count = u16::try_from(records.len()).unwrap();
        // Response, recursion desired and available; one question, the answers, nothing more.
        for number in [0x8180 | code, 1, count, 0, 0] {
            answer.extend_from_slice(&number.to_be_bytes());
        }
        answer.extend_from_slice(asked);
        for (kind, data) in records {
            // The name of the question, by its place.
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&1_u16.to_be_bytes());
            answer.extend_from_slice(&ttl.to_be_bytes());
            answer.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            answer.extend_from_slice(data);
        }
        Some(answer)
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}
