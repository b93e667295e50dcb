//! Secrets in the text of a configuration: where they stand, and the text without them.
//!
//! A diagnostic shows lines of the text and quotes values, and it ends up in logs. The text may be
//! broken, so the secrets are not found by reading it: a value is a secret if it follows a key that
//! sounds like one. A misspelled `token` is still one.
//!
//! Invariant: the masked text has the bytes and the characters of the text in the same places, so
//! spans and columns hold in both.

use std::borrow::Cow;
use std::ops::Range;

use super::nearest::nearest;
use super::written::MASK;

/// A key with one of these in it holds a secret.
const WORDS: &[&str] = &["token", "secret", "passw", "api_key", "apikey", "credential", "private"];

/// Keys that a misspelled key may have been meant to be.
const KEYS: &[&str] = &["token", "secret", "password", "api_key"];

/// Pieces of a secret that are shorter than this are found by chance, too.
const PIECE_BYTES_MIN: usize = 6;

/// The bytes of all values in `text` that are secrets, in order.
pub(super) fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some((word, end)) = next_word(text, at) {
        at = end;
        if !is_secret_key(word) {
            continue;
        }
        let is_shown = |value: &Range<usize>| {
            is_variable(text, value) || matches!(text.get(value.clone()), Some("true" | "false"))
        };
        if let Some(value) = value_behind(text, end).filter(|value| !is_shown(value)) {
            at = value.end;
            found.push(value);
        }
    }
    found
}

/// The text with placeholders in place of the secrets.
pub(super) fn masked(text: &str, secrets: &[Range<usize>]) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut copied = 0;
    for secret in secrets {
        masked.push_str(text.get(copied..secret.start).unwrap_or_default());
        for letter in text.get(secret.clone()).unwrap_or_default().chars() {
            // As many bytes as the letter has.
            masked.push(match letter.len_utf8() {
                _ if letter == '\n' => letter,
                1 => '*',
                2 => '¤',
                3 => '•',
                _ => '🔒',
            });
        }
        copied = secret.end;
    }
    masked.push_str(text.get(copied..).unwrap_or_default());
    masked
}

/// `message` without any of the secrets of `text`. If it is about a secret itself, `is_about_one`,
/// it may quote a piece: then pieces go too.
pub(super) fn without_secrets<'m>(
    message: &'m str,
    text: &str,
    secrets: &[Range<usize>],
    is_about_one: bool,
) -> Cow<'m, str> {
    let mut message = Cow::Borrowed(message);
    for secret in secrets {
        let secret = text.get(secret.clone()).unwrap_or_default().trim_matches(['"', '\'']);
        if is_about_one {
            message = without_pieces(&message, secret).into();
        } else if secret.len() >= PIECE_BYTES_MIN && message.contains(secret) {
            message = message.replace(secret, MASK).into();
        }
    }
    message
}

/// `message` without the pieces that it has in common with `secret`, the longest first at each place.
fn without_pieces(message: &str, secret: &str) -> String {
    let mut rest = message;
    let mut kept = String::with_capacity(message.len());
    while let Some(letter) = rest.chars().next() {
        let ends = rest.char_indices().map(|(at, letter)| at + letter.len_utf8());
        let common = |end: &usize| rest.get(..*end).is_some_and(|it| secret.contains(it));
        let end = ends.take_while(common).last().unwrap_or(0);
        if end >= PIECE_BYTES_MIN {
            kept.push_str(MASK);
            rest = rest.get(end..).unwrap_or_default();
        } else {
            kept.push(letter);
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
        }
    }
    kept
}

fn is_secret_key(word: &str) -> bool {
    let word: Cow<'_, str> = if word.bytes().any(|it| it.is_ascii_uppercase() || it == b'-') {
        word.to_ascii_lowercase().replace('-', "_").into()
    } else {
        word.into()
    };
    WORDS.iter().any(|it| word.contains(it))
        || nearest(&word, KEYS.iter().copied().filter(|it| it.len().abs_diff(word.len()) <= 2))
            .is_some()
}

/// The next run of letters, digits, `_` and `-` from `at` on, and its end.
fn next_word(text: &str, at: usize) -> Option<(&str, usize)> {
    let rest = text.get(at..)?;
    let start = at + rest.find(is_key_letter)?;
    let word = text.get(start..)?;
    let end = start + word.find(|it| !is_key_letter(it)).unwrap_or(word.len());
    Some((text.get(start..end)?, end))
}

fn is_key_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// The value of the key that ends at `at`, with its quotes, in TOML or in what looks like it.
fn value_behind(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    // Further names of a dotted key.
    let name = |letter: char| is_key_letter(letter) || matches!(letter, '.' | '"' | '\'');
    let behind = match rest.strip_prefix(['"', '\'']).unwrap_or(rest) {
        dotted if dotted.starts_with('.') => dotted.trim_start_matches(name),
        quoted => quoted,
    };
    let value = behind.trim_start_matches([' ', '\t']);
    let value = match value.strip_prefix(['=', ':']) {
        Some(value) => value.trim_start(),
        None if value.starts_with(['"', '\'']) && value.len() < behind.len() => value,
        None => return None,
    };
    let start = text.len() - value.len();
    let len = value_len(value);
    (len > 0).then(|| start..start + len)
}

/// The bytes of the value that `text` begins with.
fn value_len(text: &str) -> usize {
    let line = text.find(['\n', '\r']).unwrap_or(text.len());
    for quote in ["\"\"\"", "'''"] {
        if let Some(inside) = text.strip_prefix(quote) {
            return inside.find(quote).map_or(text.len(), |end| end + 2 * quote.len());
        }
    }
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let mut is_escaped = false;
            let end = text.char_indices().skip(1).find(|&(_, letter)| {
                let ends = letter == quote && !is_escaped;
                is_escaped = letter == '\\' && !is_escaped && quote == '"';
                ends
            });
            end.map_or(line, |(end, _)| (end + 1).min(line))
        }
        Some(open @ ('[' | '{')) => {
            let close = if open == '[' { ']' } else { '}' };
            let mut depth = 0_usize;
            let end = text.char_indices().find(|&(_, letter)| {
                depth += usize::from(letter == open);
                depth -= usize::from(letter == close);
                depth == 0
            });
            end.map_or(text.len(), |(end, _)| end + 1)
        }
        _ => {
            let bare = text.get(..line).unwrap_or_default();
            bare.find([',', '}', ']', '#', ';'])
                .map_or(bare, |end| bare.get(..end).unwrap_or(""))
                .trim_end()
                .len()
        }
    }
}

/// A variable without a default shows nothing of its value.
fn is_variable(text: &str, value: &Range<usize>) -> bool {
    let value = text.get(value.clone()).unwrap_or_default().trim_matches(['"', '\'']);
    value.starts_with("${") && !value.contains(":-") && value.find('}') == Some(value.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        secrets(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn values_of_keys_that_sound_like_secrets_are_found() {
        for (text, secret) in [
            ("token = \"s3cret\"\naddress = \"x\"", "\"s3cret\""),
            ("admin.token='a\\' # b", "'a\\'"),
            ("admin = { token = \"a\\\"b\", address = \"off\" }", "\"a\\\"b\""),
            ("\"token\" = \"a\"", "\"a\""),
            ("token = \"\"\"\na\nb\"\"\"\nx = 1", "\"\"\"\na\nb\"\"\""),
            ("token = \"never ends\nx = 1", "\"never ends"),
            ("token = bare-s3cret # why", "bare-s3cret"),
            ("token = 12345, x", "12345"),
            ("token =\n  \"a\"", "\"a\""),
            ("tokne = \"a\"", "\"a\""),
            ("Password = \"a\"", "\"a\""),
            ("client_secret = \"a\"", "\"a\""),
            ("api-keys = [\"a\", [\"b\"]]\nx = 1", "[\"a\", [\"b\"]]"),
            ("token.value = \"a\"", "\"a\""),
            ("{ \"admin\": { \"token\": \"a\" } }", "\"a\""),
            ("token: a b\n", "a b"),
            ("token \"a\"", "\"a\""),
            ("token = \"${env:T:-default}\"", "\"${env:T:-default}\""),
        ] {
            assert_eq!(found(text), [secret], "{text}");
        }
        for text in [
            "token = \"${env:T}\"",
            "[filters.token]\nx = 1",
            "tokens of # a",
            "address = \"a\"",
            "",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_yes_or_no_is_no_secret() {
        assert_eq!(found("credentials = true\ncredentials = false }"), [""; 0]);
        assert_eq!(found("credentials = truely"), ["truely"]);
    }

    #[test]
    fn a_masked_text_keeps_bytes_and_letters_in_their_places() {
        let text = "token = \"aß€😀\"\nx = 1\n";
        let shown = masked(text, &secrets(text));
        assert_eq!(shown, "token = **¤•🔒*\nx = 1\n");
        let places = |text: &str| text.char_indices().map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!(places(&shown), places(text));
    }

    #[test]
    fn messages_quote_no_secret_and_no_piece_of_one() {
        let text = "token = s3cret.a-value\nx = 1\n";
        let all = secrets(text);
        let clean = without_secrets("write \"s3cret.a-value\"", text, &all, false);
        assert_eq!(clean, "write \"***\"");
        let clean = without_secrets("`a-value` after s3cret is odd", text, &all, true);
        assert_eq!(clean, "`***` after *** is odd");
        let clean = without_secrets("a value", text, &all, false);
        assert_eq!(clean, "a value");
    }
}
