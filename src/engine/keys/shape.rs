//! The form of a configuration, for the reference, the commented file and the JSON Schema.

use super::written::Written;

/// The form of a value.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A string with a meaning.
    Text {
        /// A word or two for it.
        noun: &'static str,
        /// The pattern that it has, as in JSON Schema, if a pattern can say it.
        pattern: Option<&'static str>,
    },
    /// One of these strings.
    Words(Vec<&'static str>),
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// One of these numbers.
    Integers(&'static [u16]),
    /// A number from 0 to 1.
    Fraction,
    /// One or the other.
    Either(Box<Self>, Box<Self>),
    /// Any number of these.
    List(Box<Self>),
    /// A table with these keys.
    Section(Section),
    /// A table that is one of these, by its key [`TAG`].
    Tagged(Tagged),
    /// A table of objects by name.
    Named(Box<Self>),
    /// A table with keys of the user's own: a noun for them, and the form of their values.
    Map(&'static str, Box<Self>),
}

/// The key that says which of several tables one is.
pub const TAG: &str = "type";

/// A table with a fixed set of keys.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its purpose, a line per line of its doc comment.
    pub about: &'static str,
    /// Its keys, in the order of their definition.
    pub keys: Vec<KeyShape>,
    /// Those of them that exclude each other.
    pub choices: Vec<Choice>,
}

/// Tables that are told apart by their key [`TAG`].
#[derive(Clone, Debug)]
pub struct Tagged {
    /// Their purpose, a line per line of the doc comment.
    pub about: &'static str,
    /// The value of [`TAG`] for each, and its other keys.
    pub tables: Vec<(&'static str, Section)>,
}

/// Keys of a section that exclude each other.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The keys.
    pub keys: &'static [&'static str],
    /// One of them must be there.
    pub required: bool,
}

/// A key of a section.
#[derive(Clone, Debug)]
pub struct KeyShape {
    /// Its name.
    pub name: &'static str,
    /// The text of the reference, a line per line of its doc comment.
    pub doc: &'static str,
    /// The form of its value.
    pub shape: Shape,
    /// Whether it must be there.
    pub required: bool,
    /// The value that holds when it is absent, if that is a value.
    pub default: Option<Written>,
    /// The smallest and the largest value.
    pub range: Option<(Written, Written)>,
    /// A value as it is written.
    pub example: Option<&'static str>,
    /// Whether the example is in effect in the commented file, and not a comment.
    pub in_sample: bool,
    /// Whether it is a section whose absence means something else than an empty one.
    pub optional_section: bool,
}

impl Section {
    /// A section without keys.
    pub const fn new(about: &'static str) -> Self {
        Self { about, keys: Vec::new(), choices: Vec::new() }
    }
}

impl KeyShape {
    /// The key with an example or its default, as it is written. `required` asks for keys that must
    /// be there.
    pub fn entry(&self, required: bool) -> Option<String> {
        let value = match (&self.default, self.example) {
            (Some(default), _) => default.to_string(),
            (None, Some(example)) => example.to_owned(),
            (None, None) => return None,
        };
        (self.required || !required).then(|| format!("{} = {value}", self.name))
    }
}
