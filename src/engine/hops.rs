//! Loops: a gateway that is its own endpoint, or two that are each other's.
//!
//! Every request to an endpoint carries one more member in `CDN-Loop` (RFC 8586), a field that
//! nothing else interprets and that no proxy may remove. A request that has too many of ours runs in
//! a circle. We do not use `Via`: some servers, nginx among them, stop compressing for it.

use proto::head::{HeaderId, Headers};

/// Gateways of this kind that a request may pass. A chain of an edge, a mesh and a gateway for each
/// service has three or four; a loop ends after ten requests.
pub const HOPS_MAX: usize = 10;

/// Our member of the list, an RFC 8586 `cdn-id` that is a pseudonym.
const MEMBER: &[u8] = b"ringway";

/// Adds this hop to a request that goes to an endpoint; `false` when it has passed too many, and
/// must go no further.
#[inline]
#[must_use]
pub fn add_hop(headers: &mut Headers) -> bool {
    if !headers.contains(HeaderId::CdnLoop) {
        headers.push(HeaderId::CdnLoop, MEMBER);
        return true;
    }
    if passed(headers) >= HOPS_MAX {
        return false;
    }
    headers.append_list(HeaderId::CdnLoop, MEMBER);
    true
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
            assert!(add_hop(&mut headers));
        }
        assert!(!add_hop(&mut headers));
    }

    #[test]
    fn the_members_of_others_stay_and_do_not_count() {
        let mut headers = headers(&["cloud.example; a=1", "x, Ringway ;v=2"]);
        assert_eq!(passed(&headers), 1);
        assert!(add_hop(&mut headers));
        assert_eq!(passed(&headers), 2);
        let lists: Vec<_> = headers.all(HeaderId::CdnLoop).map(<[u8]>::to_vec).collect();
        assert!(lists.concat().starts_with(b"cloud.example; a=1"));
        assert_eq!(passed(&self::headers(&["ringways, my-ringway, ringway.example"])), 0);
    }
}
