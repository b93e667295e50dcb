//! Stage 8, forward: the time that a request may take at its upstream, told to the endpoint where the
//! route names a header for it.

use engine::config::Limit;
use engine::reason::Reason;
use engine::snapshot::UpstreamTimeouts;
use engine::time::Micros;
use proto::head::RequestHead;

use super::{End, Exchange};
use crate::net::Net;

impl<N: Net> Exchange<'_, N> {
    /// Writes the time of the whole request into its header `name`, in milliseconds. A trusted proxy
    /// may have written less time there: then that holds. An error where it has left none.
    pub(super) fn tell_deadline(
        &self,
        head: &mut RequestHead,
        name: &str,
        timeouts: &mut UpstreamTimeouts,
    ) -> Result<(), End> {
        let name = name.as_bytes();
        if self.caller.by_proxy
            && let Some(millis) = shortest(head.headers.all_named(name))
        {
            if millis == 0 {
                return Err(End::Reply(Reason::TotalTimeout));
            }
            let left = millis.saturating_mul(1000);
            timeouts.total = Limit::at(Micros(timeouts.total.value().0.min(left)));
        }
        head.headers.remove_named(name);
        if !timeouts.total.is_off() {
            let millis = timeouts.total.value().0 / 1000;
            head.headers.push_named(name, millis.to_string().as_bytes());
        }
        Ok(())
    }
}

/// The smallest of these numbers. One that is no number says nothing.
fn shortest<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<u64> {
    let number = |value: &[u8]| {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
    };
    values.filter_map(number).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_plain_digits_and_the_shortest_holds() {
        let of = |values: &[&str]| shortest(values.iter().map(|it| it.as_bytes()));
        assert_eq!(of(&["250"]), Some(250));
        assert_eq!(of(&["250", "30", "x"]), Some(30));
        for wrong in ["", "-1", "+5", "1.5", "1s", " 7", "99999999999999999999999"] {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
    }
}
