//! The texts that a configuration was read from, and places in them.

use std::ops::Range;

/// A text and the name it came under. Diagnostics share it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceText {
    /// The name of the file, for messages. Nothing opens it.
    pub(super) file: String,
    /// The text. Bytes that are not UTF-8 have been replaced.
    pub(super) text: String,
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
