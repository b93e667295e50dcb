//! HTTP messages as the tests read them: strict, and with nothing from the gateway's own parser.

/// The first line and the header fields of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    /// Names and values, in order.
    pub(crate) headers: Vec<(String, String)>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// A body and its trailers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Head {
    /// Of bytes that end with the empty line.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        // Text that is not UTF-8 becomes one character for each byte (ISO 8859-1, RFC 9110 5.5).
        let text = String::from_utf8(bytes.to_vec());
        let text = text.unwrap_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect());
        let mut lines = text.strip_suffix("\r\n\r\n").expect("a head").split("\r\n");
        let first_line = lines.next().expect("a first line").to_owned();
        Self { first_line, headers: lines.map(field).collect() }
    }

    /// The only value of `name`, if it is there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() <= 1, "{name} is there more than once: {values:?}");
        values.first().copied()
    }

    /// All values of `name`, in order.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = |(it, _): &&(String, String)| it.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether `name` is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        !self.values(name).is_empty()
    }

    /// The framing that Content-Length and Transfer-Encoding announce.
    pub(crate) fn framing(&self) -> Option<Framing> {
        match (self.header("transfer-encoding"), self.header("content-length")) {
            (None, None) => None,
            (None, Some(len)) => Some(Framing::Length(len.parse().unwrap())),
            (Some("chunked"), None) => Some(Framing::Chunked),
            both => panic!("nobody knows where this message ends: {both:?}"),
        }
    }

    /// The nth word of the first line.
    pub(crate) fn word(&self, nth: usize) -> &str {
        self.first_line.splitn(3, ' ').nth(nth).unwrap_or_default()
    }
}

/// A header line as name and value.
pub(crate) fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no header"));
    assert!(!name.is_empty() && !name.contains(char::is_whitespace), "{line:?} is no header");
    (name.to_owned(), value.trim().to_owned())
}
