//! Loops: a gateway that is its own endpoint, or two that are each other's.
//!
//! Every request to an endpoint carries one more member in `CDN-Loop` (RFC 8586), a field that
//! nothing else interprets and that no proxy may remove. A request that has too many of ours runs in
//! a circle. We do not use `Via`: some servers, nginx among them, stop compressing for it.

use proto::head::{HeaderId, Headers};

/// Gateways of this kind that a request may pass. A chain of an edge, a mesh and a gateway for each
/// service has three or four; a loop ends after ten requests.
pub const HOPS_MAX: usize = 10;

/// The member that this gateway adds, in a field of its own: an RFC 8586 `cdn-id` that is a
/// pseudonym.
pub const MEMBER: &[u8] = b"ringway";

/// Whether a request with these headers may go one hop further.
#[inline]
#[must_use]
pub fn may_go_on(headers: &Headers) -> bool {
    !headers.contains(HeaderId::CdnLoop) || passed(headers) < HOPS_MAX
}

/// How many of our members the lists have. A member may carry parameters behind a semicolon.
fn passed(headers: &Headers) -> usize {
    let members = headers.all(HeaderId::CdnLoop).flat_map(|list| list.split(|&byte| byte == b','));
    let names = members.filter_map(|member| member.split(|&byte| byte == b';').next());
    names.filter(|name| name.trim_ascii().eq_ignore_ascii_case(MEMBER)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lists: &[&str]) -> Headers {
        let mut headers = Headers::new();
        lists.iter().for_each(|list| headers.push(HeaderId::CdnLoop, list.as_bytes()));
        headers
    }

    #[test]
    fn a_loop_ends_after_ten_hops() {
        let mut headers = Headers::new();
        for _ in 0..HOPS_MAX {
            assert!(may_go_on(&headers));
            headers.push(HeaderId::CdnLoop, MEMBER);
        }
        assert!(!may_go_on(&headers));
        assert!(!may_go_on(&self::headers(&[&["ringway"; HOPS_MAX].join(",")])));
    }

    #[test]
    fn the_members_of_others_do_not_count() {
        assert_eq!(passed(&headers(&["cloud.example; a=1", "x, Ringway ;v=2"])), 1);
        assert_eq!(passed(&headers(&["ringways, my-ringway, ringway.example"])), 0);
    }
}
