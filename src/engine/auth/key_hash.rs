//! The hash by which an API key is kept and found.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

use crate::keys::{ItemKind, MASK, Mistake, Shape, Value, Written};

/// The SHA-256 of an API key.
///
/// A key is found by its hash in a table. How long that takes depends on the hash alone, of which a
/// client that guesses cannot steer a single bit towards the hash of a key that it does not know. So
/// the time tells nothing about the beginning of a right key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// Shorter keys can be guessed.
const KEY_BYTES_MIN: usize = 16;

/// Stands in front of a hash in place of a key.
const SHA256_PREFIX: &str = "sha256:";

impl KeyHash {
    /// The hash of a key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, key).as_ref());
        Self(hash)
    }

    /// Reads 64 hexadecimal digits.
    fn of_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * hash.len() {
            return None;
        }
        let value = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let &[high, low] = pair else { return None };
            *byte = value(high)? << 4 | value(low)?;
        }
        Some(Self(hash))
    }
}

/// Without the hash: a weak key could be found from it.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Value for KeyHash {
    fn expected() -> Cow<'static, str> {
        format!(
            "\"{SHA256_PREFIX}\" with 64 hexadecimal digits, or a key of {KEY_BYTES_MIN} or more ASCII \
             letters, digits and signs"
        )
        .into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "API key", pattern: Some("^[!-~]{16,}$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let key = &*kind.text().ok_or(Mistake::KIND)?.value;
        if let Some(digits) = key.strip_prefix(SHA256_PREFIX) {
            let cure = "make one with `printf %s \"$KEY\" | sha256sum`";
            return Self::of_hex(digits)
                .ok_or_else(|| Mistake::with_cure("the hash has not 64 hexadecimal digits", cure));
        }
        if key.len() < KEY_BYTES_MIN {
            let cure = "make one with `openssl rand -hex 32`";
            return Err(Mistake::with_cure("the key is too short", cure));
        }
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Mistake::value("the key cannot stand in a header"));
        }
        Ok(Self::of(key.as_bytes()))
    }

    fn write(&self) -> Written {
        Written::text(MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_its_written_hash_are_the_same() {
        // printf %s abc | sha256sum
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of_hex(hex), Some(KeyHash::of(b"abc")));
        assert_eq!(KeyHash::of_hex(&hex.to_ascii_uppercase()), Some(KeyHash::of(b"abc")));
        assert_eq!(KeyHash::of_hex(&hex[1..]), None);
        assert_eq!(KeyHash::of_hex(&hex.replace('b', "g")), None);
        assert_eq!(KeyHash::of_hex(&format!("+{}", &hex[1..])), None);
    }

    #[test]
    fn a_hash_is_shown_to_nobody() {
        assert_eq!(format!("{:?}", KeyHash::of(b"abc")), "***");
        assert_eq!(KeyHash::of(b"abc").write(), Written::text("***"));
    }
}
