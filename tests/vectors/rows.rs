//! Reads the rows of the vectors: bytes, verdict, facts. The format is in `h1/README.md`.
//!
//! Included by every test that runs them. A row that cannot be read fails the test.

/// One row of a file.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its line in the file, from 1.
    pub(crate) line: usize,
    /// The word in front of the bytes.
    pub(crate) prefix: String,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// `ok`, `incomplete` or the token of a violation.
    pub(crate) verdict: String,
    /// The facts behind the verdict.
    pub(crate) expected: Vec<(String, Vec<u8>)>,
}

/// The rows of a file.
pub(crate) fn rows(text: &str) -> impl Iterator<Item = Row> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines.map(|(number, line)| {
        let (left, right) = line.rsplit_once(" -> ").expect("a row has an arrow");
        let (prefix, pieces) = left.split_at(left.find('"').expect("bytes in quotes"));
        let (verdict, facts) = right.split_once(' ').unwrap_or((right, ""));
        Row {
            line: number + 1,
            prefix: prefix.trim().to_owned(),
            bytes: joined(pieces),
            verdict: verdict.to_owned(),
            expected: expected(facts),
        }
    })
}

/// `"a" "b"*3`
fn joined(mut text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !text.is_empty() {
        let (piece, rest) = unquoted(text);
        let (count, rest) = match rest.strip_prefix('*') {
            Some(rest) => rest.split_at(rest.find(' ').unwrap_or(rest.len())),
            None => ("1", rest),
        };
        bytes.extend(piece.repeat(count.parse().expect("a count")));
        text = rest.trim_start();
    }
    bytes
}

/// `name=value name="value"`
fn expected(mut text: &str) -> Vec<(String, Vec<u8>)> {
    let mut facts = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let (value, rest) = if rest.starts_with('"') {
            unquoted(rest)
        } else {
            let (value, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
            (value.as_bytes().to_vec(), rest)
        };
        facts.push((name.to_owned(), value));
        text = rest.trim_start();
    }
    facts
}

/// The piece in quotes at the start of the text, and the rest of the text.
fn unquoted(text: &str) -> (Vec<u8>, &str) {
    let mut rest = text.strip_prefix('"').expect("a quote");
    let mut bytes = Vec::new();
    loop {
        let next = rest.chars().next().expect("a closing quote");
        rest = &rest[next.len_utf8()..];
        if next == '"' {
            return (bytes, rest);
        }
        if next != '\\' {
            bytes.extend(next.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let (escape, after) = rest.split_at(1);
        rest = after;
        bytes.push(match escape {
            "r" => b'\r',
            "n" => b'\n',
            "t" => b'\t',
            "x" => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(digits, 16).expect("two hex digits")
            }
            other => other.as_bytes()[0],
        });
    }
}
