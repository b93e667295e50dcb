//! A record as a line: a JSON object with all fields, or the combined format of other servers.
//!
//! On the way of every request, if not on a data core: numbers and dates are written by hand, the
//! seconds of a date once a second.
//!
//! Invariant: a line ends with its only line feed.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use engine::address::ClientAddress;
use engine::reason::Reason;
use proto::date::imf_fixdate;
use worker::telemetry::record::{Destination, EndpointAddress, Record, Records, Times};

use super::super::listeners::ListenerNames;
use super::text;

/// Appends a JSON object with all fields, null where there is nothing.
pub(super) fn json(
    line: &mut Vec<u8>,
    records: &Records,
    record: &Record,
    listeners: &ListenerNames,
    clock: &mut Clock,
) {
    let seconds = clock.at(record.unix_micros / 1_000_000);
    let nowhere = Destination::default();
    let destination = records.destination(record).unwrap_or(&nowhere);
    line.extend_from_slice(b"{\"time\":\"");
    line.extend_from_slice(&seconds.rfc3339);
    line.extend_from_slice(&fraction(record.unix_micros % 1_000_000));
    line.extend_from_slice(b"Z\",\"request_id\":");
    text::json(line, records.text(&record.request_id));
    line.extend_from_slice(b",\"client\":\"");
    match record.client {
        // A proxy has said the address, and not the port.
        ClientAddress::Ip(client) if client.port() == 0 => ip(line, client.ip()),
        ClientAddress::Ip(client) => address(line, client),
        ClientAddress::Unix => line.extend_from_slice(UNIX),
    }
    line.extend_from_slice(b"\",\"listener\":");
    text::json(line, listeners.of(record.listener).as_bytes());
    let texts = [
        (&b",\"route\":"[..], &destination.route),
        (b",\"method\":", &record.method),
        (b",\"host\":", &record.host),
        (b",\"path\":", &record.path),
    ];
    for (key, value) in texts {
        line.extend_from_slice(key);
        text_or_null(line, records.text(value));
    }
    // A request line that could not be read has no version either.
    let is_read = !records.text(&record.method).is_empty();
    line.extend_from_slice(match (is_read, record.http11) {
        (false, _) => b",\"protocol\":null,\"status\":",
        (true, true) => b",\"protocol\":\"HTTP/1.1\",\"status\":",
        (true, false) => b",\"protocol\":\"HTTP/1.0\",\"status\":",
    });
    number(line, record.status.into());
    line.extend_from_slice(b",\"reason\":");
    reason(line, record.reason);
    line.extend_from_slice(b",\"bytes_in\":");
    number(line, record.bytes_in);
    line.extend_from_slice(b",\"bytes_out\":");
    number(line, record.bytes_out);
    line.extend_from_slice(b",\"upstream\":");
    text_or_null(line, records.text(&destination.upstream));
    line.extend_from_slice(b",\"endpoint\":");
    match &destination.endpoint {
        EndpointAddress::None => line.extend_from_slice(NULL),
        EndpointAddress::Ip(endpoint) => {
            line.push(b'"');
            address(line, *endpoint);
            line.push(b'"');
        }
        EndpointAddress::Unix(name) => {
            let name = [UNIX, records.text(name)].concat();
            text::json(line, &name);
        }
    }
    line.extend_from_slice(b",\"tries\":");
    number(line, record.tries.into());
    line.extend_from_slice(b",\"retried_because\":");
    reason(line, record.retried_because);
    line.extend_from_slice(match (record.tries, record.reused_connection) {
        (0, _) => b",\"reused_connection\":null",
        (_, true) => b",\"reused_connection\":true",
        (_, false) => b",\"reused_connection\":false",
    });
    // Between two moments can be less than a microsecond: what tells is that it came further.
    let Times { head, connect, first_byte, done } = record.times;
    let times = [
        (&b",\"head_us\":"[..], head, is_read),
        (b",\"connect_us\":", connect, connect.max(first_byte) > 0),
        (b",\"first_byte_us\":", first_byte, first_byte > 0),
    ];
    for (key, micros, came) in times {
        line.extend_from_slice(key);
        if came {
            number(line, micros.into());
        } else {
            line.extend_from_slice(NULL);
        }
    }
    line.extend_from_slice(b",\"total_us\":");
    number(line, done);
    line.extend_from_slice(b",\"config_version\":");
    number(line, destination.config_version);
    line.extend_from_slice(b",\"user_agent\":");
    text_or_null(line, records.text(&record.user_agent));
    line.extend_from_slice(b"}\n");
}

/// Appends the combined format:
/// `client - - [10/Oct/2000:13:55:36 +0000] "GET /path HTTP/1.1" 200 123 "referer" "user agent"`.
pub(super) fn combined(line: &mut Vec<u8>, records: &Records, record: &Record, clock: &mut Clock) {
    let seconds = clock.at(record.unix_micros / 1_000_000);
    match record.client {
        ClientAddress::Ip(client) => ip(line, client.ip()),
        ClientAddress::Unix => line.extend_from_slice(UNIX),
    }
    line.extend_from_slice(b" - - [");
    line.extend_from_slice(&seconds.common);
    line.extend_from_slice(b" +0000] \"");
    match records.text(&record.method) {
        // What could not be read as a request.
        [] => line.push(b'-'),
        method => {
            text::combined(line, method);
            line.push(b' ');
            text::combined(line, records.text(&record.path));
            line.extend_from_slice(if record.http11 { b" HTTP/1.1" } else { b" HTTP/1.0" });
        }
    }
    line.extend_from_slice(b"\" ");
    number(line, record.status.into());
    line.push(b' ');
    number(line, record.bytes_out);
    for value in [&record.referer, &record.user_agent] {
        line.extend_from_slice(b" \"");
        match records.text(value) {
            [] => line.push(b'-'),
            value => text::combined(line, value),
        }
        line.push(b'"');
    }
    line.push(b'\n');
}

const NULL: &[u8] = b"null";
/// What stands for a client behind a Unix socket, and before the name of an endpoint's.
const UNIX: &[u8] = b"unix:";

fn text_or_null(line: &mut Vec<u8>, value: &[u8]) {
    match value {
        [] => line.extend_from_slice(NULL),
        value => text::json(line, value),
    }
}

fn reason(line: &mut Vec<u8>, reason: Option<Reason>) {
    match reason {
        Some(reason) => {
            line.push(b'"');
            line.extend_from_slice(reason.token().as_bytes());
            line.push(b'"');
        }
        None => line.extend_from_slice(NULL),
    }
}

fn number(line: &mut Vec<u8>, number: u64) {
    line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn address(line: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(_) => ip(line, address.ip()),
        IpAddr::V6(_) => {
            line.push(b'[');
            ip(line, address.ip());
            line.push(b']');
        }
    }
    line.push(b':');
    number(line, address.port().into());
}

fn ip(line: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            number(line, a.into());
            for part in [b, c, d] {
                line.push(b'.');
                number(line, part.into());
            }
        }
        // Writing to a vector does not fail.
        IpAddr::V6(ip) => drop(write!(line, "{ip}")),
    }
}

/// `.123456`, from microseconds below one million.
fn fraction(micros: u64) -> [u8; 7] {
    let digit = |unit: u64| {
        // Below 10, so it fits.
        b'0' + u8::try_from(micros / unit % 10).unwrap_or(0)
    };
    [b'.', digit(100_000), digit(10_000), digit(1000), digit(100), digit(10), digit(1)]
}

/// The current second, written out.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Option<Second>,
}

#[derive(Clone, Copy, Debug)]
struct Second {
    unix: u64,
    /// `2000-10-10T13:55:36`
    rfc3339: [u8; 19],
    /// `10/Oct/2000:13:55:36`
    common: [u8; 20],
}

impl Clock {
    fn at(&mut self, unix: u64) -> Second {
        match self.second {
            Some(second) if second.unix == unix => second,
            _ => *self.second.insert(Second::new(unix)),
        }
    }
}

impl Second {
    fn new(unix: u64) -> Self {
        let [
            _,
            _,
            _,
            _,
            _,
            d0,
            d1,
            _,
            m0,
            m1,
            m2,
            _,
            y0,
            y1,
            y2,
            y3,
            _,
            h0,
            h1,
            _,
            n0,
            n1,
            _,
            s0,
            s1,
            _,
            _,
            _,
            _,
        ] = imf_fixdate(unix);
        let [month0, month1] = *match &[m0, m1, m2] {
            b"Jan" => b"01",
            b"Feb" => b"02",
            b"Mar" => b"03",
            b"Apr" => b"04",
            b"May" => b"05",
            b"Jun" => b"06",
            b"Jul" => b"07",
            b"Aug" => b"08",
            b"Sep" => b"09",
            b"Oct" => b"10",
            b"Nov" => b"11",
            _ => b"12",
        };
        Self {
            unix,
            rfc3339: [
                y0, y1, y2, y3, b'-', month0, month1, b'-', d0, d1, b'T', h0, h1, b':', n0, n1,
                b':', s0, s1,
            ],
            common: [
                d0, d1, b'/', m0, m1, m2, b'/', y0, y1, y2, y3, b':', h0, h1, b':', n0, n1, b':',
                s0, s1,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::snapshot::ListenerId;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::tests::{Exchange, listeners};
    use super::*;

    fn json_of(exchange: &Exchange) -> String {
        let records = exchange.batch();
        let mut line = Vec::new();
        json(&mut line, &records, &records.records[0], &listeners(), &mut Clock::default());
        String::from_utf8(line).unwrap()
    }

    fn combined_of(exchange: &Exchange) -> String {
        let records = exchange.batch();
        let mut line = Vec::new();
        combined(&mut line, &records, &records.records[0], &mut Clock::default());
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_request_that_an_endpoint_answered_has_every_field() {
        assert_eq!(
            json_of(&Exchange::default()),
            concat!(
                r#"{"time":"2000-10-10T13:55:36.001234Z","#,
                r#""request_id":"0123456789abcdef0123456789abcdef","client":"192.0.2.7:54321","#,
                r#""listener":"web","route":"users","method":"GET","host":"api.example.com","#,
                r#""path":"/users/1?a=b","protocol":"HTTP/1.1","status":200,"reason":null,"#,
                r#""bytes_in":0,"bytes_out":123,"upstream":"users","endpoint":"10.0.0.1:9000","#,
                r#""tries":2,"retried_because":"endpoint_reset","reused_connection":false,"#,
                r#""head_us":1,"connect_us":20,"first_byte_us":300,"total_us":4000,"#,
                r#""config_version":7,"user_agent":"curl/8.5.0"}"#,
                "\n"
            )
        );
        assert_eq!(
            combined_of(&Exchange::default()),
            "192.0.2.7 - - [10/Oct/2000:13:55:36 +0000] \"GET /users/1?a=b HTTP/1.1\" 200 123 \
             \"https://example.com/\" \"curl/8.5.0\"\n"
        );
    }

    #[test]
    fn what_was_no_request_has_nulls() {
        let exchange = Exchange::unreadable();
        let value: Value = serde_json::from_str(&json_of(&exchange)).unwrap();
        for key in [
            "route",
            "method",
            "host",
            "path",
            "protocol",
            "upstream",
            "endpoint",
            "retried_because",
            "reused_connection",
            "head_us",
            "connect_us",
            "first_byte_us",
            "user_agent",
        ] {
            assert_eq!(value[key], Value::Null, "{key}");
        }
        assert_eq!(value["client"], "[2001:db8::1]:54321");
        assert_eq!(value["reason"], "client_timeout");
        assert_eq!(value["tries"], 0);
        assert_eq!(
            combined_of(&exchange),
            "2001:db8::1 - - [10/Oct/2000:13:55:36 +0000] \"-\" 408 0 \"-\" \"-\"\n"
        );
    }

    #[test]
    fn a_listener_that_nobody_knows_has_a_name_all_the_same() {
        let mut records = Exchange::default().batch();
        records.records[0].listener = ListenerId(99);
        let mut line = Vec::new();
        json(&mut line, &records, &records.records[0], &listeners(), &mut Clock::default());
        let value: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["listener"], "__other__");
    }

    #[test]
    fn each_second_is_written_anew() {
        let mut clock = Clock::default();
        let mut text = |unix| String::from_utf8(clock.at(unix).rfc3339.to_vec()).unwrap();
        assert_eq!(text(951_868_799), "2000-02-29T23:59:59");
        assert_eq!(text(951_868_800), "2000-03-01T00:00:00");
        assert_eq!(text(951_868_799), "2000-02-29T23:59:59");
    }

    proptest! {
        /// No client byte can break a line or a field.
        #[test]
        fn whatever_a_client_sends_a_line_stays_one_line(
            method in "[A-Z!#$%&'*+.^_`|~-]{1,10}",
            texts in proptest::array::uniform4(proptest::collection::vec(any::<u8>(), 0..80)),
            times in any::<(u32, u32, u32, u64)>(),
        ) {
            let [host, path, user_agent, referer] = texts;
            let exchange = Exchange {
                method: method.into_bytes(), host, path, user_agent, referer,
                times: Times { head: times.0, connect: times.1, first_byte: times.2, done: times.3 },
                ..Exchange::default()
            };
            let line = json_of(&exchange);
            prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value.as_object().unwrap().len(), 24);
            let read = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            prop_assert_eq!(read("host"), String::from_utf8_lossy(&exchange.host));
            prop_assert_eq!(read("path"), String::from_utf8_lossy(&exchange.path));
            prop_assert_eq!(read("user_agent"), String::from_utf8_lossy(&exchange.user_agent));
            prop_assert_eq!(&value["total_us"], times.3);
            let line = combined_of(&exchange);
            prop_assert_eq!(line.find(char::is_control), Some(line.len() - 1));
            // Three quoted fields, and no quote inside of them.
            prop_assert_eq!(line.matches('"').count(), 6, "{}", line);
        }
    }
}
