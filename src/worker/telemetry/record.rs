//! Access records: what one exchange was, on its way to the access log.
//!
//! A worker fills a [`Records`] batch and sends it; the control thread writes it out and sends the
//! emptied batch back. The texts of a batch stand in one piece of memory. They are bytes that
//! clients chose: whoever prints them escapes them.

use std::net::SocketAddr;
use std::ops::Range;

use engine::address::ClientAddress;
use engine::reason::Reason;
use engine::snapshot::ListenerId;

/// Records of a batch at most.
pub const RECORDS_MAX: usize = 512;
/// Bytes of texts in a batch, at most: room for the average record, and for one of the longest.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// A batch of records of one core.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Which worker filled it.
    pub core: usize,
    /// Records that could not be kept since the last batch, because no batch was free.
    pub dropped: u64,
    /// The records, in the order in which exchanges ended.
    pub records: Vec<Record>,
    text: Vec<u8>,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Record {
    /// When its head began to arrive: microseconds since 1970.
    pub unix_micros: u64,
    /// Its name.
    pub request_id: Text,
    /// The client's address.
    pub client: ClientAddress,
    /// Where it came in.
    pub listener: ListenerId,
    /// The route's name; empty when no route took it.
    pub route: Text,
    /// The method as sent.
    pub method: Text,
    /// The host as sent, without port.
    pub host: Text,
    /// The path and query as sent.
    pub path: Text,
    /// HTTP/1.1, else HTTP/1.0.
    pub http11: bool,
    /// What the client was sent, or 499 when nobody was left to send it to.
    pub status: u16,
    /// Why the gateway answered by itself or gave up.
    pub reason: Option<Reason>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// The upstream's name; empty when it did not come to that.
    pub upstream: Text,
    /// The endpoint tried last.
    pub endpoint: EndpointAddress,
    /// How often an endpoint was tried.
    pub tries: u8,
    /// Why it was tried again.
    pub retried_because: Option<Reason>,
    /// The connection of the last try had carried a request before.
    pub reused_connection: bool,
    /// How long it took.
    pub times: Times,
    /// The version of the configuration that it was served by.
    pub config_version: u64,
    /// The client's `User-Agent`.
    pub user_agent: Text,
    /// The client's `Referer`, which the combined format prints.
    pub referer: Text,
}

/// Where an endpoint is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EndpointAddress {
    /// It did not come to that.
    #[default]
    None,
    /// At an IP address and port.
    Ip(SocketAddr),
    /// At a Unix socket of this name.
    Unix(Text),
}

impl Record {
    /// Its texts.
    fn texts_mut(&mut self) -> impl Iterator<Item = &mut Text> {
        // All fields are named: a new one is not forgotten here.
        let Self {
            unix_micros: _,
            request_id,
            client: _,
            listener: _,
            route,
            method,
            host,
            path,
            http11: _,
            status: _,
            reason: _,
            bytes_in: _,
            bytes_out: _,
            upstream,
            endpoint,
            tries: _,
            retried_because: _,
            reused_connection: _,
            times: _,
            config_version: _,
            user_agent,
            referer,
        } = self;
        let endpoint = match endpoint {
            EndpointAddress::Unix(name) => Some(name),
            EndpointAddress::None | EndpointAddress::Ip(_) => None,
        };
        let texts = [request_id, route, method, host, path, upstream, user_agent, referer];
        texts.into_iter().chain(endpoint)
    }
}

/// A text of a batch; see [`Records::text`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(Range<u32>);

/// Microseconds from the first byte of the head to the four moments at which an exchange has
/// waited; 0 for those that it did not come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The head was complete.
    pub head: u32,
    /// There was a connection to an endpoint.
    pub connect: u32,
    /// The endpoint's head had come.
    pub first_byte: u32,
    /// Everything was sent: for a tunnel perhaps days later.
    pub done: u64,
}

impl Records {
    /// Keeps a text.
    pub fn put(&mut self, text: &[u8]) -> Text {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        let at = |place| u32::try_from(place).unwrap_or(u32::MAX);
        Text(at(start)..at(self.text.len()))
    }

    /// The bytes of a text of this batch.
    #[must_use]
    pub fn text(&self, text: &Text) -> &[u8] {
        self.text.get(text.0.start as usize..text.0.end as usize).unwrap_or_default()
    }

    /// Bytes of texts.
    #[must_use]
    pub const fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// Takes over copies of the records of another batch.
    pub fn append(&mut self, other: &Self) {
        for record in &other.records {
            let mut record = record.clone();
            for text in record.texts_mut() {
                *text = self.put(other.text(text));
            }
            self.records.push(record);
        }
    }

    /// Whether there is no room for a further record with `text_bytes` of texts.
    #[must_use]
    pub fn is_full(&self, text_bytes: usize) -> bool {
        self.records.len() >= RECORDS_MAX || self.text.len() + text_bytes > TEXT_BYTES_MAX
    }

    /// Empties it and keeps what it has allocated.
    pub fn clear(&mut self) {
        self.records.clear();
        self.text.clear();
        self.dropped = 0;
    }
}
