//! Stage 3, decode: which request heads a listener takes, and which it refuses.
//!
//! The connection reads the bytes, and [`proto`] knows their meaning.

use engine::reason::Reason;
use engine::snapshot::ListenerLimits;
use proto::h1::{early_fault, parse_request};
use proto::head::RequestHead;
use proto::path;
use proto::violation::Violation;

/// Bytes of a request line beside its target: ` HTTP/1.1`, and a method longer than any that is
/// registered.
const LINE_BYTES_FREE: usize = 64;

/// Decodes the head that `bytes` begin with, and gives its length.
///
/// The one way that is walked when all is well: a head is mostly there at once. Where it is not, or
/// is refused, a scanner finds its end and [`scanned`] has the last word.
#[inline]
pub(super) fn at_once(
    bytes: &[u8],
    limits: &ListenerLimits,
    paths: path::Rules,
    into: &mut RequestHead,
) -> Result<usize, Reason> {
    let len = parse_request(bytes, limits.headers_max as usize, into)?;
    if len > limits.head_bytes_max.in_memory() {
        return Err(Reason::HeadTooLarge);
    }
    if into.target().len() > limits.target_bytes_max.in_memory() {
        return Err(Reason::TargetTooLong);
    }
    into.settle_path(paths)?;
    Ok(len)
}

/// Decodes a head that is all of `bytes`.
pub(super) fn scanned(
    bytes: &[u8],
    limits: &ListenerLimits,
    paths: path::Rules,
    into: &mut RequestHead,
) -> Result<(), Reason> {
    if bytes.len() > limits.head_bytes_max.in_memory() {
        return Err(too_large(bytes, limits));
    }
    // Where the scanner and the parser disagree on the end, nothing is certain.
    match at_once(bytes, limits, paths, into)? {
        len if len == bytes.len() => Ok(()),
        _ => Err(Violation::HeadEnd.into()),
    }
}

/// Why a head of which more has to come can be refused already, if it can.
pub(super) fn refused_already(bytes: &[u8], limits: &ListenerLimits) -> Option<Reason> {
    if line_is_too_long(bytes, limits) {
        return Some(Reason::TargetTooLong);
    }
    if let Some(fault) = early_fault(bytes) {
        return Some(fault.into());
    }
    (bytes.len() >= limits.head_bytes_max.in_memory()).then_some(Reason::HeadTooLarge)
}

#[cold]
fn too_large(bytes: &[u8], limits: &ListenerLimits) -> Reason {
    if line_is_too_long(bytes, limits) { Reason::TargetTooLong } else { Reason::HeadTooLarge }
}

/// Whether the request line is so long that its target must be, too.
fn line_is_too_long(bytes: &[u8], limits: &ListenerLimits) -> bool {
    let bytes_max = limits.target_bytes_max.in_memory().saturating_add(LINE_BYTES_FREE);
    bytes.get(..bytes_max).is_some_and(|line| !line.contains(&b'\n'))
}

#[cfg(test)]
mod tests {
    use engine::config::ByteSize;

    use super::*;

    fn limits() -> ListenerLimits {
        ListenerLimits {
            head_bytes_max: ByteSize(2048),
            headers_max: 10,
            target_bytes_max: ByteSize(1024),
            ..ListenerLimits::default()
        }
    }

    fn get(target_len: usize, more: usize) -> Vec<u8> {
        let (target, more) = ("a".repeat(target_len - 1), "x".repeat(more));
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\nX: {more}\r\n\r\n").into_bytes()
    }

    fn decoded(bytes: &[u8]) -> Result<(), Reason> {
        scanned(bytes, &limits(), path::Rules::default(), &mut RequestHead::new())
    }

    #[test]
    fn a_target_may_be_as_long_as_the_limit() {
        assert_eq!(decoded(&get(1024, 0)), Ok(()));
        assert_eq!(decoded(&get(1025, 0)), Err(Reason::TargetTooLong));
        assert_eq!(decoded(&get(1025, 4000)), Err(Reason::HeadTooLarge));
        assert_eq!(decoded(&get(4000, 0)), Err(Reason::TargetTooLong));
        assert_eq!(decoded(&get(10, 4000)), Err(Reason::HeadTooLarge));
    }

    #[test]
    fn a_head_ends_where_it_was_found_to_end() {
        let longer = [get(10, 0), b"x".to_vec()].concat();
        assert_eq!(decoded(&longer), Err(Violation::HeadEnd.into()));
    }

    #[test]
    fn a_request_line_that_does_not_end_is_refused_before_it_does() {
        let bytes = get(1500, 0);
        let refused = |len: usize| refused_already(&bytes[..len], &limits());
        assert_eq!(refused(1087), None);
        assert_eq!(refused(1088), Some(Reason::TargetTooLong));
        let bytes = get(10, 4000);
        let refused = |len: usize| refused_already(&bytes[..len], &limits());
        assert_eq!(refused(2047), None);
        assert_eq!(refused(2048), Some(Reason::HeadTooLarge));
    }
}
