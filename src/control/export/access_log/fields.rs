//! The fields of the access log, each one row: name, help, and the value that it takes from a
//! record.
//!
//! The JSON line, templates and `docs/access-log.md` follow from the rows; a test compares. A row
//! is all that a new field needs, where the record has its value.

use engine::address::ClientAddress;
use engine::reason::Reason;
use proto::head::Version;
use worker::telemetry::record::{Destination, EndpointAddress, Record, Records};

use super::super::cause;
use super::super::listeners::ListenerNames;
use super::clock::{Clock, Second};
use super::out::Out;

/// A field.
#[derive(Debug)]
pub(super) struct LogField {
    /// Its name, in JSON and in templates.
    pub(super) name: &'static str,
    /// Its meaning, in a sentence without a full stop.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the documentation, made by a test"))]
    pub(super) help: &'static str,
    /// Writes its value.
    pub(super) write: fn(&LineSource<'_>, &mut Out<'_>),
}

/// A record and all that a line of it needs.
pub(super) struct LineSource<'a> {
    records: &'a Records,
    record: &'a Record,
    /// `None` for a record that has none in its batch.
    destination: Option<&'a Destination>,
    listeners: &'a ListenerNames,
    second: &'a Second,
}

impl<'a> LineSource<'a> {
    pub(super) fn new(
        records: &'a Records,
        record: &'a Record,
        listeners: &'a ListenerNames,
        clock: &'a mut Clock,
    ) -> Self {
        let destination = records.destination(record);
        let second = clock.at(record.unix_micros / 1_000_000);
        Self { records, record, destination, listeners, second }
    }

    /// A text of the destination, empty when there is none.
    fn destination(&self, text: fn(&Destination) -> &worker::telemetry::record::Text) -> &[u8] {
        self.destination.map_or(&[], |it| self.records.text(text(it)))
    }

    /// Whether a request was read.
    fn is_read(&self) -> bool {
        !self.records.text(&self.record.texts.method).is_empty()
    }

    fn protocol(&self) -> &'static str {
        match self.record.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        }
    }
}

macro_rules! fields {
    ($(#[$doc:meta])* $table:ident; $($name:literal $help:literal => $write:expr;)+) => {
        $(#[$doc])*
        pub(super) static $table: &[LogField] =
            &[$(LogField { name: $name, help: $help, write: $write }),+];
    };
}

fields! {
    /// The fields of a JSON line, in their order.
    JSON;
    "time" "when the head began to arrive, UTC, microseconds"
        => |it, to| to.string(|to| {
            to.plain(it.second.rfc3339.as_bytes());
            to.plain(&fraction(it.record.unix_micros % 1_000_000));
            to.plain(b"Z");
        });
    "request_id" "the `X-Request-Id` that the endpoint got and replies name; the id of a trusted proxy is kept"
        => |it, to| to.text(it.records.text(&it.record.texts.request_id));
    "client" "address and port of the client; without a port where a proxy named it, `unix:` behind a Unix socket"
        => |it, to| to.string(|to| match it.record.client {
            // A proxy has named the address, and not the port.
            ClientAddress::Ip(client) if client.port() == 0 => to.ip(client.ip()),
            ClientAddress::Ip(client) => to.address(client),
            ClientAddress::Unix => to.plain(UNIX),
        });
    "listener" "the name of the listener in the configuration"
        => |it, to| to.text(it.listeners.of(it.record.listener).as_bytes());
    "route" "the name of the route"
        => |it, to| to.text(it.destination(|it| &it.route));
    "method" "the method as sent"
        => |it, to| to.text(it.records.text(&it.record.texts.method));
    "host" "the host as sent, without port"
        => |it, to| to.text(it.records.text(&it.record.texts.host));
    "path" "the path with its query, as sent on"
        => |it, to| to.text(it.records.text(&it.record.texts.path));
    "protocol" "the version of HTTP that the client spoke"
        => |it, to| to.word(it.is_read().then(|| it.protocol()));
    "tls" "version and cipher of TLS, such as `TLSv1.3 TLS_AES_128_GCM_SHA256`; nothing without TLS"
        => |it, to| match it.record.tls {
            Some(tls) => to.string(|to| {
                to.plain(tls.version.name().as_bytes());
                to.plain(b" ");
                to.plain(tls.cipher.as_bytes());
            }),
            None => to.nothing(),
        };
    "status" "the status that was sent; 499: the client had gone"
        => |it, to| to.number(it.record.status);
    "reason" "why the gateway answered by itself or gave up, see [reasons.md](reasons.md)"
        => |it, to| to.word(it.record.reason.map(Reason::token));
    "cause" "the exact failure of the last try that failed, or the violation of the client: the rule with its section, or the error of the kernel"
        => |it, to| match cause::of(it.record.failure.as_ref(), it.record.reason) {
            Some(cause) => to.text(cause.as_bytes()),
            None => to.nothing(),
        };
    "bytes_in" "bytes of the body of the request"
        => |it, to| to.number(it.record.bytes_in);
    "bytes_out" "bytes of the body of the response"
        => |it, to| to.number(it.record.bytes_out);
    "upstream" "the name of the upstream"
        => |it, to| to.text(it.destination(|it| &it.upstream));
    "endpoint" "the address of the endpoint that was tried last"
        => |it, to| match it.destination.map(|it| &it.endpoint) {
            None | Some(EndpointAddress::None) => to.nothing(),
            Some(EndpointAddress::Ip(endpoint)) => to.string(|to| to.address(*endpoint)),
            Some(EndpointAddress::Unix(name)) => to.string(|to| {
                to.plain(UNIX);
                to.escaped(it.records.text(name));
            }),
        };
    "tries" "how often an endpoint was tried"
        => |it, to| to.number(it.record.tries);
    "retried_because" "why it was tried again"
        => |it, to| to.word(it.record.retried_because.map(Reason::token));
    "reused_connection" "whether the connection of the last try came from the pool"
        => |it, to| match it.record.tries {
            0 => to.nothing(),
            _ => to.boolean(it.record.reused_connection),
        };
    // The time between two moments can be less than a microsecond: a moment has come when a later
    // one has.
    "head_us" "microseconds from the first byte of the head to its last"
        => |it, to| to.number_if(it.is_read(), it.record.times.head);
    "connect_us" "microseconds from the first byte of the head until there was a connection to an endpoint"
        => |it, to| {
            let times = it.record.times;
            to.number_if(times.connect.max(times.first_byte) > 0, times.connect);
        };
    "first_byte_us" "microseconds from the first byte of the head until the endpoint had answered"
        => |it, to| to.number_if(it.record.times.first_byte > 0, it.record.times.first_byte);
    "total_us" "microseconds from the first byte of the head until everything was sent"
        => |it, to| to.number(it.record.times.done);
    "config_version" "the version of the configuration that it was served by"
        => |it, to| to.number(it.destination.map_or(0, |it| it.config_version));
    "core" "the number of the core that served it"
        => |it, to| to.number(it.records.core as u64);
    "consumer" "the name of the [consumer](identity.md) that the request came from"
        => |it, to| to.text(it.records.text(&it.record.texts.consumer));
    "user_agent" "the `User-Agent` as sent"
        => |it, to| to.text(it.records.text(&it.record.texts.user_agent));
}

/// The format that other servers call combined.
pub(super) const COMBINED: &str = "{client_ip} - - [{time_common} +0000] \"{request}\" {status} \
    {bytes_out} \"{referer}\" \"{user_agent}\"";

fields! {
    /// Fields that only templates have: JSON has their parts.
    TEMPLATE;
    "client_ip" "the address of the client"
        => |it, to| to.string(|to| match it.record.client {
            ClientAddress::Ip(client) => to.ip(client.ip()),
            ClientAddress::Unix => to.plain(UNIX),
        });
    "time_common" "when the head began to arrive, as in `10/Oct/2000:13:55:36`"
        => |it, to| to.string(|to| to.plain(it.second.common.as_bytes()));
    "request" "the request line"
        => |it, to| match it.is_read() {
            false => to.nothing(),
            true => to.string(|to| {
                to.escaped(it.records.text(&it.record.texts.method));
                to.plain(b" ");
                to.escaped(it.records.text(&it.record.texts.path));
                to.plain(b" ");
                to.plain(it.protocol().as_bytes());
            }),
        };
    "referer" "the `Referer` as sent"
        => |it, to| to.text(it.records.text(&it.record.texts.referer));
}

/// The text before the name of a Unix socket, and in place of a client behind one.
const UNIX: &[u8] = b"unix:";

/// The field of that name.
pub(super) fn named(name: &str) -> Option<&'static LogField> {
    JSON.iter().chain(TEMPLATE).find(|field| field.name == name)
}

/// `.123456`, from microseconds below one million.
fn fraction(micros: u64) -> [u8; 7] {
    let digit = |unit: u64| {
        // Below 10, so it fits.
        b'0' + u8::try_from(micros / unit % 10).unwrap_or(0)
    };
    [b'.', digit(100_000), digit(10_000), digit(1000), digit(100), digit(10), digit(1)]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The text of `docs/access-log.md`.
    fn reference() -> String {
        let mut text = "# Access log

<!-- Generated from src/control/export/access_log/fields.rs. Do not edit: run `UPDATE=1 cargo test -p control`. -->

A line per request, with `[access_log]`. [Operations](operations.md) says how lines are written and files rotated.

`format = \"json\"` has every field of this table, null where there is no value:

| field | value |
|---|---|
"
        .to_owned();
        let row = |field: &LogField| format!("| `{}` | {} |\n", field.name, field.help);
        text.extend(JSON.iter().map(row));
        text.push_str(&format!(
            "
`format = \"combined\"` is the format of other servers, with times in UTC:

```
{COMBINED}
192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /path HTTP/1.1\" 200 123 \"referer\" \"user agent\"
```

It has some fields of its own:

| field | value |
|---|---|
"
        ));
        text.extend(TEMPLATE.iter().map(row));
        text
    }

    #[test]
    fn the_reference_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/access-log.md");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == reference(), "run UPDATE=1 cargo test -p control");
    }

    #[test]
    fn names_are_unique_and_helps_fit_into_a_table() {
        let mut seen = HashSet::new();
        for LogField { name, help, .. } in JSON.iter().chain(TEMPLATE) {
            assert!(seen.insert(name), "{name} twice");
            assert!(name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase()), "{name}");
            assert!(!help.ends_with('.') && !help.contains(['\n', '|']), "{help}");
        }
    }
}
