//! Paths: whatever a target is, its normal form is that of a plain second implementation, is its
//! own normal form, and holds nothing that another program would resolve.
//!
//! The first byte chooses the rules. RFC 3986 5.2.4, 6.2.2; see `proto::path`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::path::{EncodedSlash, Form, Rules, settled};
use proto::uri::check_path_and_query;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, bytes)) = input.split_first() else { return };
    let form = if choice & 1 == 0 { Form::Normalise } else { Form::Keep };
    let encoded_slash = if choice & 2 == 0 { EncodedSlash::Keep } else { EncodedSlash::Reject };
    let rules = Rules { form, encoded_slash };
    let Ok(path_len) = check_path_and_query(bytes) else { return };
    let path = &bytes[..path_len];

    let ours = settled(path, rules).ok();
    assert_eq!(ours, reference(path, rules), "{}", path.escape_ascii());
    let Some(ours) = ours.filter(|_| form == Form::Normalise) else { return };
    assert_eq!(settled(&ours, rules), Ok(ours.clone()));
    assert_eq!(check_path_and_query(&ours), Ok(ours.len()));
    assert!(ours.len() <= path.len());
    for hidden in [&b"//"[..], b"/./", b"/../", b"%00", b"%2E", b"%2e", b"..%2F", b"%2f"] {
        let found = ours.windows(hidden.len()).any(|window| window == hidden);
        // "a..%2F" is the name of something.
        assert!(!found || hidden == b"..%2F", "{}", ours.escape_ascii());
    }
    assert!(!ours.ends_with(b"/.") && !ours.ends_with(b"/.."));
});

/// The same, one step after the other.
fn reference(path: &[u8], rules: Rules) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = rest.get(..2).filter(|it| it.iter().all(u8::is_ascii_hexdigit))?;
        let value = u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        rest = &rest[2..];
        let slash = value == b'/' || value == b'\\';
        if value == 0 || (slash && rules.encoded_slash == EncodedSlash::Reject) {
            return None;
        }
        if value.is_ascii_alphanumeric() || b"-._~".contains(&value) {
            decoded.push(value);
        } else {
            decoded.extend(format!("%{value:02X}").bytes());
        }
    }
    if rules.form == Form::Keep {
        return Some(path.to_vec());
    }
    let decoded = String::from_utf8(decoded).unwrap();
    let dots = |segment: &str| segment == "." || segment == "..";
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()?),
            other if other.replace("%5C", "%2F").split("%2F").any(dots) => return None,
            other => kept.push(other),
        }
    }
    let last = decoded.rsplit('/').next().unwrap();
    let open = !kept.is_empty() && (last.is_empty() || dots(last));
    Some(format!("/{}{}", kept.join("/"), if open { "/" } else { "" }).into_bytes())
}
