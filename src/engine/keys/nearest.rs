//! Which known word was probably meant.

/// The word among `words` that `word` was probably meant to be.
pub fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // One slip in three letters is a typo; more is another word.
    let tolerance = (word.len() / 3).max(1);
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped, changed or swapped with their neighbour to make one
/// word of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // Rows of the usual table: the one before the last, the last, and the one being made.
    let mut older: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut before = None;
    for (row, letter) in from.chars().enumerate() {
        let mut made = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, column) + usize::from(letter != *other))
                .min(at(&last, column + 1) + 1)
                .min(at(&made, column) + 1);
            let swapped = column
                .checked_sub(1)
                .filter(|&previous| to.get(previous) == Some(&letter) && before == Some(*other));
            if let Some(previous) = swapped {
                best = best.min(at(&older, previous).saturating_add(1));
            }
            made.push(best);
        }
        older = std::mem::replace(&mut last, made);
        before = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_slips() {
        let cases = [
            ("listeners", "listeners", 0),
            ("listners", "listeners", 1),
            ("listenrse", "listeners", 2),
            ("upstraem", "upstream", 1),
            ("", "abc", 3),
            ("abc", "", 3),
            ("route", "timeout", 5),
        ];
        for (from, to, expected) in cases {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn only_a_near_word_is_offered() {
        let words = ["address", "limits", "timeouts"];
        assert_eq!(nearest("adress", words.into_iter()), Some("address"));
        assert_eq!(nearest("timeout", words.into_iter()), Some("timeouts"));
        assert_eq!(nearest("colour", words.into_iter()), None);
    }
}
