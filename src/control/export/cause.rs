//! A failure in words, for logs: the exact violation, or the error of the kernel.

use engine::reason::Reason;
use nix::errno::Errno;
use proto::violation::Violation;
use worker::failure::{Failure, Kind};

/// The failure, after the stage in which it happened: "connect: connection refused (ECONNREFUSED)",
/// "respond: more than one content-length (RFC 9110 8.6)".
pub(crate) fn of_failure(failure: &Failure) -> String {
    let stage = failure.stage.name();
    match failure.kind {
        Kind::Violation(violation) => format!("{stage}: {}", of_violation(violation)),
        // A network that knows no numbers: the simulated one.
        Kind::Broken(0) => format!("{stage}: connection broken"),
        Kind::Broken(errno) => {
            let errno = Errno::from_raw(errno);
            format!("{stage}: {} ({errno:?})", errno.desc().to_lowercase())
        }
        Kind::Tls(failure) => format!("{stage}: TLS: {}", failure.text()),
        Kind::Closed => format!("{stage}: connection closed too early"),
        Kind::Timeout => format!("{stage}: timed out"),
        Kind::TotalTimeout => format!("{stage}: the time for the whole request has passed"),
        Kind::HeadTooLarge => format!("{stage}: head is too large"),
        Kind::BodyTooLarge => format!("{stage}: body is too large"),
        Kind::Refused(reason) => format!("{stage}: refused: {reason}"),
        Kind::Exhausted => format!("{stage}: no descriptor, memory or port left"),
        Kind::NoEndpoint => format!("{stage}: no endpoint left to try"),
        Kind::PoolFull => format!("{stage}: all connections are in use"),
        Kind::Abandoned => format!("{stage}: given up"),
    }
}

/// The cause of the end of an exchange: the failure of a try, or the violation that is the reason.
pub(crate) fn of(failure: Option<&Failure>, reason: Option<Reason>) -> Option<String> {
    match (failure, reason) {
        (Some(failure), _) => Some(of_failure(failure)),
        (None, Some(Reason::Violation(violation))) => Some(of_violation(violation)),
        _ => None,
    }
}

fn of_violation(violation: Violation) -> String {
    match violation.section() {
        Some(section) => format!("{violation} ({section})"),
        None => violation.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use engine::stage::Stage;

    use super::*;

    #[test]
    fn a_cause_names_the_error_or_the_section() {
        let text = |stage, kind| of_failure(&Failure::endpoint(stage, kind));
        assert_eq!(
            text(Stage::Connect, Kind::Broken(111)),
            "connect: connection refused (ECONNREFUSED)"
        );
        assert_eq!(
            text(Stage::Respond, Kind::Violation(Violation::ContentLengthDuplicate)),
            "respond: more than one content-length (RFC 9110 8.6)"
        );
        assert_eq!(text(Stage::Respond, Kind::Timeout), "respond: timed out");
        let malformed = Some(Reason::Violation(Violation::ChunkOverhead));
        assert_eq!(of(None, malformed), Some("more chunk framing than data".to_owned()));
        assert_eq!(of(None, Some(Reason::NoRoute)), None);
    }
}
