//! Access records: the facts about one exchange, on their way to the access log.
//!
//! A worker fills a [`Records`] batch and sends it; the control thread writes it out and sends the
//! emptied batch back. The texts of a batch stand in one piece of memory. They are bytes that
//! clients chose: code that prints them escapes them.
//!
//! A batch goes from one core's cache to another's, so its size matters: the names that
//! exchanges have in common stand in it once.

use std::net::SocketAddr;
use std::ops::Range;

use engine::address::ClientAddress;
use engine::reason::Reason;
use engine::snapshot::{ListenerId, RouteId, UpstreamId};
use proto::head::Version;

use crate::failure::Failure;
use crate::tls::session::TlsInfo;

/// Records of a batch at most.
pub const RECORDS_MAX: usize = 512;
/// Bytes of texts in a batch, at most: room for the average record, and for one of the longest.
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Destinations that are compared with a new one. There are as many as endpoints in turn; beyond
/// that some stand in a batch twice, and nothing else.
const DESTINATIONS_COMPARED_MAX: usize = 16;

/// A batch of records of one core.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// Which worker filled it.
    pub core: usize,
    /// Records that could not be kept since the last batch, because no batch was free.
    pub dropped: u64,
    /// The records, in the order in which exchanges ended.
    pub records: Vec<Record>,
    destinations: Vec<(DestinationKey, Destination)>,
    text: Vec<u8>,
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The texts of an exchange, as they are.
        #[derive(Clone, Copy, Debug)]
        pub struct RecordTexts<'a> {
            $($(#[$doc])* pub $name: &'a [u8],)+
        }

        /// The texts of a record, as they stand in its batch; see [`Records::text`].
        #[derive(Clone, Debug)]
        pub struct StoredTexts {
            $($(#[$doc])* pub $name: Text,)+
        }

        impl RecordTexts<'_> {
            /// Their length together, in bytes.
            #[must_use]
            pub const fn bytes(&self) -> usize {
                0 $(+ self.$name.len())+
            }
        }

        impl Records {
            /// Keeps the texts of an exchange.
            pub fn put_texts(&mut self, texts: &RecordTexts<'_>) -> StoredTexts {
                StoredTexts { $($name: self.put(texts.$name),)+ }
            }

            /// The texts of a record of this batch.
            #[must_use]
            pub fn texts<'a>(&'a self, stored: &StoredTexts) -> RecordTexts<'a> {
                RecordTexts { $($name: self.text(&stored.$name),)+ }
            }
        }
    };
}

texts! {
    /// The name of the exchange.
    request_id,
    /// The method as sent.
    method,
    /// The host as sent, without port.
    host,
    /// The path and query as sent.
    path,
    /// The name of the consumer; nothing where no filter has found one.
    consumer,
    /// The `User-Agent` of the client.
    user_agent,
    /// The `Referer` of the client, which the combined format prints.
    referer,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Record {
    /// When its head began to arrive: microseconds since 1970.
    pub unix_micros: u64,
    /// Its texts.
    pub texts: StoredTexts,
    /// The client's address.
    pub client: ClientAddress,
    /// The listener that it came in by.
    pub listener: ListenerId,
    /// Its route, upstream and endpoint: see [`Records::destination`].
    pub destination: DestinationId,
    /// The handshake of its client's connection, if that has TLS.
    pub tls: Option<TlsInfo>,
    /// The version of HTTP that the client spoke.
    pub version: Version,
    /// The status that the client was sent, or 499 when nobody was left to send it to.
    pub status: u16,
    /// Why the gateway answered by itself or gave up.
    pub reason: Option<Reason>,
    /// The last failure of a try, if one failed: also when a later one succeeded.
    pub failure: Option<Failure>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// How often an endpoint was tried.
    pub tries: u8,
    /// Why it was tried again.
    pub retried_because: Option<Reason>,
    /// The connection of the last try had carried a request before.
    pub reused_connection: bool,
    /// How long it took.
    pub times: Times,
}

/// Where exchanges went, and by which version.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    /// The route's name; empty when no route took them.
    pub route: Text,
    /// The upstream's name; empty when it did not come to that.
    pub upstream: Text,
    /// The endpoint tried last.
    pub endpoint: EndpointAddress,
    /// The version of the configuration that they were served by.
    pub config_version: u64,
}

/// Which destination of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationId(u32);

/// The identity of a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationKey {
    /// The version of the configuration.
    pub version: u64,
    /// The route.
    pub route: Option<RouteId>,
    /// The upstream.
    pub upstream: Option<UpstreamId>,
    /// The number on this core of the endpoint tried last.
    pub endpoint: Option<u32>,
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
    /// Keeps a destination, which `make` makes unless the batch has it.
    pub fn put_destination(
        &mut self,
        key: DestinationKey,
        make: impl FnOnce(&mut Self) -> Destination,
    ) -> DestinationId {
        let mut latest = self.destinations.iter().rev().take(DESTINATIONS_COMPARED_MAX);
        let index = match latest.position(|(it, _)| *it == key) {
            Some(back) => self.destinations.len() - 1 - back,
            None => {
                let destination = make(self);
                self.destinations.push((key, destination));
                self.destinations.len() - 1
            }
        };
        DestinationId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The destination of a record of this batch; `None` for another's.
    #[must_use]
    pub fn destination(&self, record: &Record) -> Option<&Destination> {
        self.destinations.get(record.destination.0 as usize).map(|(_, it)| it)
    }

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
            record.texts = self.put_texts(&other.texts(&record.texts));
            if let Some((key, it)) = other.destinations.get(record.destination.0 as usize) {
                record.destination = self.put_destination(*key, |records| Destination {
                    route: records.put(other.text(&it.route)),
                    upstream: records.put(other.text(&it.upstream)),
                    endpoint: match &it.endpoint {
                        EndpointAddress::Unix(name) => {
                            EndpointAddress::Unix(records.put(other.text(name)))
                        }
                        other => other.clone(),
                    },
                    config_version: it.config_version,
                });
            }
            self.records.push(record);
        }
    }

    /// Whether there is no room for a further record with `text_bytes` of texts.
    #[must_use]
    pub fn is_full(&self, text_bytes: usize) -> bool {
        self.records.len() >= RECORDS_MAX || self.text.len() + text_bytes > TEXT_BYTES_MAX
    }

    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.destinations.clear();
        self.text.clear();
        self.dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(records: &mut Records, endpoint: u32) -> DestinationId {
        let key = DestinationKey { endpoint: Some(endpoint), ..DestinationKey::default() };
        records.put_destination(key, |records| Destination {
            upstream: records.put(endpoint.to_string().as_bytes()),
            ..Destination::default()
        })
    }

    #[test]
    fn a_destination_stands_in_a_batch_once() {
        let mut records = Records::default();
        let ids = [1, 2, 1, 2, 3, 1].map(|it| put(&mut records, it).0);
        assert_eq!(ids, [0, 1, 0, 1, 2, 0]);
        assert_eq!(records.text, b"123");
        records.clear();
        assert_eq!(put(&mut records, 3).0, 0);
        // Where there are too many to be compared, a second entry does no harm.
        for endpoint in 0..100 {
            let DestinationId(id) = put(&mut records, endpoint);
            let (_, destination) = &records.destinations[id as usize];
            assert_eq!(records.text(&destination.upstream), endpoint.to_string().as_bytes());
        }
    }

    #[test]
    fn a_record_is_three_lines_of_a_cache() {
        assert!(size_of::<Record>() <= 3 * 64, "{}", size_of::<Record>());
    }
}
