//! What a configuration looks like, for those who describe it: see `section!`.

use super::written::Written;

/// What a value looks like.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A string that means something: what, in a word or two, and the pattern it has (as in JSON
    /// Schema), if a pattern can say it.
    Text { noun: &'static str, pattern: Option<&'static str> },
    /// One of these strings.
    Words(Vec<&'static str>),
    /// A whole number.
    Integer,
    /// One of these numbers.
    Integers(&'static [u16]),
    /// One or the other.
    Either(Box<Self>, Box<Self>),
    /// Any number of these.
    List(Box<Self>),
    /// A table with these keys.
    Section(Section),
    /// A table of objects by name.
    Named(Box<Self>),
    /// A table with keys of the user's own: what they are, and what their values are.
    Map(&'static str, Box<Self>),
}

/// A table with a fixed set of keys.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// What it is about, a line per line of its doc comment.
    pub(super) about: &'static str,
    pub(super) keys: Vec<Key>,
    pub(super) choice: Option<Choice>,
}

/// Keys of a section that exclude each other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    /// One of them is there, and only one.
    ExactlyOne(&'static [&'static str]),
    /// Two of them are never there.
    AtMostOne(&'static [&'static str]),
}

impl Shape {
    /// The same, if it is a section, with keys that exclude each other.
    pub(super) fn with_choice(self, choice: Choice) -> Self {
        match self {
            Self::Section(section) => Self::Section(Section { choice: Some(choice), ..section }),
            other => other,
        }
    }
}

/// A key of a section.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it does, a line per line of its doc comment.
    pub(super) doc: &'static str,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// What holds when it is absent, if that is a value.
    pub(super) default: Option<Written>,
    /// The smallest and the largest value.
    pub(super) range: Option<(Written, Written)>,
    /// A value as it is written.
    pub(super) example: Option<&'static str>,
    /// Whether the commented file has the example in effect, and not as a comment.
    pub(super) in_sample: bool,
    /// Whether it is a section that may be absent, and that means something else than an empty
    /// one.
    pub(super) optional_section: bool,
}
