//! Median, spread and verdict: when a difference may be called one.
//!
//! Rounds are few and the machine is noisy, so nothing finer than the range is used: no mean, no
//! deviation. Invariant: no verdict is given where the range of ratios reaches 1.

use std::fmt;

/// The middle and the ends of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: usize,
}

/// The verdict of the ratios of all rounds on a product beside its baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Cheaper,
    Dearer,
    NoDifference,
    /// All rounds agree, and are too few to mean it.
    TooFewRounds,
}

impl Spread {
    /// `None` for no values. Values that are not numbers are left out.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let upper = *sorted.get(count / 2)?;
        let lower = *sorted.get(count.saturating_sub(1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min: *sorted.first()?,
            max: *sorted.last()?,
            count,
        })
    }
}

impl Verdict {
    /// Judges ratios of cost to a baseline, one for each round.
    pub(super) fn on(ratios: &Spread) -> Self {
        let cheaper = ratios.max < 1.0 - MARGIN;
        let dearer = ratios.min > 1.0 + MARGIN;
        match (cheaper, dearer) {
            (false, false) => Self::NoDifference,
            _ if ratios.count < ROUNDS_MIN => Self::TooFewRounds,
            (true, _) => Self::Cheaper,
            _ => Self::Dearer,
        }
    }
}

impl fmt::Display for Spread {
    /// `12.3 [11.0..14.1]`, with the precision that the format asks for (2 by default).
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = formatter.precision().unwrap_or(2);
        let Self { median, min, max, .. } = self;
        write!(formatter, "{median:.digits$} [{min:.digits$}..{max:.digits$}]")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cheaper => formatter.write_str("cheaper"),
            Self::Dearer => formatter.write_str("dearer"),
            Self::NoDifference => formatter.write_str("no difference"),
            Self::TooFewRounds => write!(formatter, "open: needs {ROUNDS_MIN} rounds"),
        }
    }
}

/// Of two equal products one is ahead in all of 3 rounds by chance once in 4 times, of 5 once in
/// 16.
const ROUNDS_MIN: usize = 5;
/// Smaller steps are not claimed even when all rounds agree: two starts of one binary differ by as
/// much through the places where its memory happens to lie. Together with five rounds this keeps
/// `--aa` quiet.
const MARGIN: f64 = 0.02;

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ratios: &[f64]) -> Verdict {
        Verdict::on(&Spread::of(ratios.iter().copied()).expect("values"))
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).expect("values");
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 4.0));
        let spread = Spread::of([3.0, 1.0, 2.0]).expect("values");
        assert_eq!((spread.median, spread.count), (2.0, 3));
    }

    #[test]
    fn no_values_have_no_spread() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn a_range_that_reaches_one_names_no_winner() {
        assert_eq!(verdict(&[0.7, 0.7, 0.7, 0.7, 1.0]), Verdict::NoDifference);
        assert_eq!(verdict(&[1.5, 1.5, 1.5, 1.5, 0.99]), Verdict::NoDifference);
        assert_eq!(verdict(&[0.99, 0.98, 0.985, 0.99, 0.97]), Verdict::NoDifference);
    }

    #[test]
    fn a_range_on_one_side_names_one() {
        assert_eq!(verdict(&[0.7, 0.75, 0.8, 0.72, 0.9]), Verdict::Cheaper);
        assert_eq!(verdict(&[1.1, 1.2, 1.3, 1.15, 1.05]), Verdict::Dearer);
    }

    #[test]
    fn few_rounds_stay_open_even_when_they_agree() {
        assert_eq!(verdict(&[0.5, 0.5, 0.5, 0.5]), Verdict::TooFewRounds);
        assert_eq!(verdict(&[0.5]), Verdict::TooFewRounds);
    }

    #[test]
    fn a_spread_is_written_with_its_ends() {
        let spread = Spread::of([1.0, 2.0, 4.0]).expect("values");
        assert_eq!(format!("{spread:.1}"), "2.0 [1.0..4.0]");
    }
}
