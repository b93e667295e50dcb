//! From a request head to the answer: how large, how late, in which words.
//!
//! Pure: no socket and no clock. Only this file decides how an answer looks on the wire.

use std::fmt::Write;
use std::time::Duration;

use super::Mode;

/// The answer that a request wants from the endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) content: Content,
    pub(super) delay: Duration,
    /// The connection ends after this answer.
    pub(super) close: bool,
    /// The request was HEAD: the head is sent alone.
    pub(super) head_only: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// So many bytes of filler.
    Filler(u64),
    /// How many body bytes arrived.
    Count,
    /// A JSON text.
    Json(String),
}

/// The parts of a request head that the answer depends on.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: &'a [httparse::Header<'a>],
    pub(super) has_body: bool,
    pub(super) close: bool,
}

impl Answer {
    pub(super) fn to(request: &Request<'_>, mode: Mode, name: &str) -> Self {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        let content = match mode {
            Mode::Hello => Content::Json(hello(request, name)),
            Mode::Sizes if request.has_body => Content::Count,
            Mode::Sizes => Content::Filler(filler_bytes(path)),
        };
        Self {
            content,
            delay: delay(query),
            close: request.close,
            head_only: request.method == "HEAD",
        }
    }
}

/// Appends a response head.
pub(super) fn write_head(out: &mut Vec<u8>, status: &str, kind: &str, length: u64, close: bool) {
    let connection = if close { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nServer: endpoint\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n{connection}\r\n"
    );
    out.extend_from_slice(head.as_bytes());
}

fn filler_bytes(path: &str) -> u64 {
    match path {
        "/64k" => 64 * 1024,
        _ => ["/bytes/", "/size/"]
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix)?.parse().ok())
            .unwrap_or(DEFAULT_BYTES),
    }
}

fn delay(query: &str) -> Duration {
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("delay_ms=")?.parse().ok());
    asked.map_or(Duration::ZERO, Duration::from_millis).min(DELAY_MAX)
}

fn hello(request: &Request<'_>, name: &str) -> String {
    let mut json = String::from("{\"endpoint\":");
    write_text(&mut json, name);
    json.push_str(",\"method\":");
    write_text(&mut json, request.method);
    json.push_str(",\"path\":");
    write_text(&mut json, request.target);
    json.push_str(",\"headers\":[");
    for (index, header) in request.headers.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        // Pairs instead of an object, because a name may come twice, and the demo shows exactly the
        // fields that arrived.
        json.push('[');
        write_text(&mut json, header.name);
        json.push(',');
        write_text(&mut json, &String::from_utf8_lossy(header.value));
        json.push(']');
    }
    json.push_str("]}\n");
    json
}

fn write_text(json: &mut String, text: &str) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            letter if u32::from(letter) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(letter));
            }
            letter => json.push(letter),
        }
    }
    json.push('"');
}

/// `/`, `/1k` and every path that names no size.
const DEFAULT_BYTES: u64 = 1024;
/// Longer than any timeout a gateway test waits for.
const DELAY_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_size() {
        let sizes = ["/", "/1k", "/64k", "/bytes/7", "/size/1073741824", "/bytes/none"];
        assert_eq!(sizes.map(filler_bytes), [1024, 1024, 65536, 7, 1_073_741_824, 1024]);
    }

    #[test]
    fn a_query_names_its_delay_up_to_a_minute() {
        assert_eq!(delay("a=b&delay_ms=20"), Duration::from_millis(20));
        assert_eq!(delay("delay_ms=99999999"), DELAY_MAX);
        assert_eq!(delay(""), Duration::ZERO);
    }

    #[test]
    fn a_hello_text_is_escaped() {
        let headers = [httparse::Header { name: "X", value: b"a\"b\\c\x01" }];
        let request = Request {
            method: "GET",
            target: "/p?q",
            headers: &headers,
            has_body: false,
            close: false,
        };
        assert_eq!(
            hello(&request, "one"),
            "{\"endpoint\":\"one\",\"method\":\"GET\",\"path\":\"/p?q\",\
             \"headers\":[[\"X\",\"a\\\"b\\\\c\\u0001\"]]}\n"
        );
    }
}
