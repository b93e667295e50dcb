//! A record as a line: a JSON object with all fields, or fields within a text of one's own.
//!
//! On the way of every request, if not on a data core: a layout is prepared once, and numbers and
//! dates are written by hand.
//!
//! Invariant: a line ends with its only line feed.

use super::fields::{COMBINED, JSON, LineSource, LogField, named};
use super::out::{Out, Style};

/// The form of a line, prepared.
#[derive(Debug)]
pub(super) struct Layout {
    style: Style,
    /// Texts and fields in turn: the text stands before its field.
    parts: Vec<(Vec<u8>, &'static LogField)>,
    /// The text behind the last field.
    end: Vec<u8>,
}

impl Layout {
    /// A JSON object with all fields, null where there is nothing.
    pub(super) fn json() -> Self {
        let key = |(index, field): (usize, &'static LogField)| {
            let before = if index == 0 { '{' } else { ',' };
            (format!("{before}\"{}\":", field.name).into_bytes(), field)
        };
        let parts = JSON.iter().enumerate().map(key).collect();
        Self { style: Style::Json, parts, end: b"}\n".to_vec() }
    }

    /// The format that other servers call combined:
    /// `client - - [10/Oct/2000:13:55:36 +0000] "GET /path HTTP/1.1" 200 123 "referer" "user agent"`.
    pub(super) fn combined() -> Self {
        Self::template(COMBINED)
    }

    /// A text with fields in braces. Braces that hold no field stand for themselves.
    fn template(text: &str) -> Self {
        let (mut parts, mut before, mut rest) = (Vec::new(), String::new(), text);
        while let Some((text, behind)) = rest.split_once('{') {
            before.push_str(text);
            match behind.split_once('}').and_then(|(name, end)| Some((named(name)?, end))) {
                Some((field, end)) => {
                    parts.push((std::mem::take(&mut before).into_bytes(), field));
                    rest = end;
                }
                None => {
                    before.push('{');
                    rest = behind;
                }
            }
        }
        let end = [before.as_bytes(), rest.as_bytes(), b"\n"].concat();
        Self { style: Style::Plain, parts, end }
    }

    /// Appends the line of a record.
    pub(super) fn write(&self, line: &mut Vec<u8>, source: &LineSource<'_>) {
        for (text, field) in &self.parts {
            line.extend_from_slice(text);
            (field.write)(source, &mut Out { line, style: self.style });
        }
        line.extend_from_slice(&self.end);
    }
}

#[cfg(test)]
mod tests {
    use engine::snapshot::ListenerId;
    use proptest::prelude::*;
    use serde_json::Value;
    use worker::telemetry::record::{Records, Times};

    use super::super::clock::Clock;
    use super::super::tests::{Exchange, listeners};
    use super::*;

    fn line(layout: &Layout, records: &Records) -> String {
        let mut line = Vec::new();
        let record = &records.records[0];
        layout.write(
            &mut line,
            &LineSource::new(records, record, &listeners(), &mut Clock::default()),
        );
        String::from_utf8(line).unwrap()
    }

    fn json_of(exchange: &Exchange) -> String {
        let records = exchange.batch();
        line(&Layout::json(), &records)
    }

    fn combined_of(exchange: &Exchange) -> String {
        let records = exchange.batch();
        line(&Layout::combined(), &records)
    }

    #[test]
    fn a_request_that_an_endpoint_answered_has_every_field() {
        assert_eq!(
            json_of(&Exchange::default()),
            concat!(
                r#"{"time":"2000-10-10T13:55:36.001234Z","#,
                r#""request_id":"0123456789abcdef0123456789abcdef","client":"192.0.2.7:54321","#,
                r#""listener":"web","route":"users","method":"GET","host":"api.example.com","#,
                r#""path":"/users/1?a=b","protocol":"HTTP/1.1","#,
                r#""tls":"TLSv1.3 TLS_AES_128_GCM_SHA256","status":200,"reason":null,"#,
                r#""cause":"connect: connection refused (ECONNREFUSED)","#,
                r#""bytes_in":0,"bytes_out":123,"upstream":"users","endpoint":"10.0.0.1:9000","#,
                r#""tries":2,"retried_because":"endpoint_reset","reused_connection":false,"#,
                r#""head_us":1,"connect_us":20,"first_byte_us":300,"total_us":4000,"#,
                r#""config_version":7,"core":0,"consumer":"alice","user_agent":"curl/8.5.0"}"#,
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
            "consumer",
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
        let value: Value = serde_json::from_str(&line(&Layout::json(), &records)).unwrap();
        assert_eq!(value["listener"], "__other__");
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
            prop_assert_eq!(value.as_object().unwrap().len(), JSON.len());
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
