//! The texts that a configuration was read from, and places in them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use super::secret::{masked, secrets, without_secrets};

/// A text and the name it came under. Diagnostics share it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceText {
    /// The name of the file, for messages. Nothing opens it.
    pub(super) file: String,
    /// The text. Bytes that are not UTF-8 have been replaced.
    pub(super) text: String,
    /// Made for the first diagnostic: most texts have none.
    masked: OnceLock<Masked>,
}

/// A text as it may be shown.
#[derive(Debug, PartialEq, Eq)]
struct Masked {
    secrets: Vec<Range<usize>>,
    text: String,
}

impl SourceText {
    pub(super) fn new(file: &str, text: String) -> Self {
        Self { file: file.to_owned(), text, masked: OnceLock::new() }
    }

    fn masked(&self) -> &Masked {
        self.masked.get_or_init(|| {
            let secrets = secrets(&self.text);
            Masked { text: masked(&self.text, &secrets), secrets }
        })
    }

    /// The text as it may be shown: without secrets, and everything in its place.
    pub(super) fn shown(&self) -> &str {
        &self.masked().text
    }

    /// A message about the bytes `about` of this text, without secrets.
    pub(super) fn without_secrets<'m>(
        &self,
        message: &'m str,
        about: Range<usize>,
    ) -> Cow<'m, str> {
        let secrets = &self.masked().secrets;
        let is_about_one = secrets.iter().any(|it| it.start <= about.end && about.start <= it.end);
        without_secrets(message, &self.text, secrets, is_about_one)
    }
}

/// A place: the number of a text, and byte offsets in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The number of the text.
    pub source: u32,
    /// The first byte.
    pub start: u32,
    /// The byte after the last one.
    pub end: u32,
}

impl Span {
    /// The beginning of the first text, for keys that are nowhere.
    pub const START: Self = Self { source: 0, start: 0, end: 0 };

    /// Bytes `range` of text `source`. Texts are far below 4 GiB; larger offsets are cut.
    pub fn new(source: u32, range: Range<usize>) -> Self {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { source, start: offset(range.start), end: offset(range.end) }
    }

    /// The bytes.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}
