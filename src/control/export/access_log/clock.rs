//! The time of day in log lines: made once for all lines of a second.

use proto::date::imf_fixdate;

/// The current second, written out.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: Second,
}

/// A second, in the forms of log lines.
#[derive(Debug, Default)]
pub(super) struct Second {
    /// In seconds since 1970; 0 before the first one.
    unix: u64,
    /// `2000-10-10T13:55:36`
    pub(super) rfc3339: String,
    /// `10/Oct/2000:13:55:36`
    pub(super) common: String,
}

impl Clock {
    /// The second `unix`, in seconds since 1970.
    pub(super) fn at(&mut self, unix: u64) -> &Second {
        if self.second.unix != unix || self.second.common.is_empty() {
            self.second = Second::new(unix);
        }
        &self.second
    }
}

/// The months, as dates of HTTP name them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Second {
    fn new(unix: u64) -> Self {
        let date = imf_fixdate(unix);
        // `Tue, 10 Oct 2000 13:55:36 GMT`
        let mut words = std::str::from_utf8(&date).unwrap_or_default().split(' ').skip(1);
        let mut word = || words.next().unwrap_or_default();
        let (day, month, year, time) = (word(), word(), word(), word());
        let number = MONTHS.iter().position(|it| *it == month).map_or(0, |index| index + 1);
        Self {
            unix,
            rfc3339: format!("{year}-{number:02}-{day}T{time}"),
            common: format!("{day}/{month}/{year}:{time}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_is_written_anew() {
        let mut clock = Clock::default();
        let mut text = |unix| clock.at(unix).rfc3339.clone();
        assert_eq!(text(951_868_799), "2000-02-29T23:59:59");
        assert_eq!(text(951_868_800), "2000-03-01T00:00:00");
        assert_eq!(text(951_868_799), "2000-02-29T23:59:59");
    }
}
