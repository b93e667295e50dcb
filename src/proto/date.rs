//! Dates as HTTP writes them: IMF-fixdate, RFC 9110 5.6.7.

/// An IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type Date = [u8; 29];

/// The last second with a year of four digits, 9999-12-31T23:59:59Z; later times are written so.
const SECONDS_MAX: u64 = 253_402_300_799;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The time as IMF-fixdate (RFC 9110 5.6.7), from seconds since 1970-01-01T00:00:00Z.
///
/// Meant to be made once a second and kept, not once a message.
#[must_use]
pub fn imf_fixdate(unix_seconds: u64) -> Date {
    let seconds = unix_seconds.min(SECONDS_MAX);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let [d0, d1, d2] = named(&DAYS, days % 7);
    let [m0, m1, m2] = named(&MONTHS, month);
    let [day0, day1] = two(day);
    let ([y0, y1], [y2, y3]) = (two(year / 100), two(year));
    let ([h0, h1], [n0, n1], [s0, s1]) =
        (two(second / 3600), two(second / 60 % 60), two(second % 60));
    [
        d0, d1, d2, b',', b' ', day0, day1, b' ', m0, m1, m2, b' ', y0, y1, y2, y3, b' ', h0, h1,
        b':', n0, n1, b':', s0, s1, b' ', b'G', b'M', b'T',
    ]
}

/// Year, month (0 = January) and day of the month, from days since 1970-01-01.
///
/// The well-known method: count days from 0000-03-01, so that the leap day ends the year, in eras
/// of 400 years (146 097 days).
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March: 153 days in each five.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + (month >= 10) as u64;
    (year, (month + 2) % 12, day)
}

/// The last two decimal digits.
const fn two(number: u64) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

fn named<const N: usize>(names: &[&[u8; 3]; N], number: u64) -> [u8; 3] {
    let index = usize::try_from(number).unwrap_or(0);
    names.get(index).map_or(*b"???", |name| **name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8(imf_fixdate(seconds).to_vec()).unwrap()
    }

    #[test]
    fn known_dates_are_written_as_expected() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(951_868_799), "Tue, 29 Feb 2000 23:59:59 GMT");
        assert_eq!(text(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 GMT");
        assert_eq!(text(1_767_225_599), "Wed, 31 Dec 2025 23:59:59 GMT");
        assert_eq!(text(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(text(SECONDS_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(text(u64::MAX), text(SECONDS_MAX));
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let leap =
            |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..146_097 {
            assert_eq!(civil(days), (year, month, day));
            let in_month = match month {
                1 => 28 + u64::from(leap(year)),
                3 | 5 | 8 | 10 => 30,
                _ => 31,
            };
            day += 1;
            if day > in_month {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
    }
}
