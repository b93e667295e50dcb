//! How a section of the configuration is defined and read.
//!
//! [`section!`] takes one definition per key: field, documentation, type and [`Rule`] (default,
//! bounds). The struct and its reader come from it; so will the JSON Schema and the reference.
//!
//! Invariant: reading never stops at the first mistake. What cannot be read is reported and
//! comes back as `None`, and its neighbours are read all the same.

use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Source, Span};
use super::nearest::nearest;
use super::tree::{Entry, Kind, Node};

/// Defines a section: `field: Type => rule;`, or `field = "key": Type => rule;` where the key is
/// not the field's name.
macro_rules! section {
    (
        $(#[$about:meta])*
        $vis:vis $name:ident {
            $($(#[$doc:meta])* $field:ident $(= $key:literal)? : $type:ty => $rule:expr;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        $vis struct $name {
            $($(#[$doc])* $vis $field: $type,)+
        }

        impl $crate::config::section::Value for $name {
            const EXPECTED: &'static str = "a table";

            fn read(
                node: &$crate::config::tree::Node,
                walk: &mut $crate::config::section::Walk,
            ) -> Option<Self> {
                use $crate::config::section::key;
                const KEYS: &[&str] = &[$(key!($field $($key)?)),+];
                let table = walk.table(node, KEYS)?;
                // All fields first, then the verdict: see the invariant.
                $(let $field = walk.field(&table, key!($field $($key)?), $rule);)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}

/// The key of a field.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(super) use {key, section};

/// What can stand behind a key.
pub(super) trait Value: Sized {
    /// What to write, for messages: `a duration such as "300ms"`.
    const EXPECTED: &'static str;

    /// Reads it; `None` after a mistake, which has been reported.
    fn read(node: &Node, walk: &mut Walk) -> Option<Self>;
}

/// A value with a smallest and a largest.
pub(super) trait Bounded: PartialOrd {
    /// The value as it is written in the configuration.
    fn show(&self) -> String;
}

/// What a key may hold, and what holds when it is absent.
pub(super) struct Rule<T> {
    missing: Missing<T>,
    bounds: Option<RangeInclusive<T>>,
    /// Says what is wrong with a value out of bounds.
    outside: fn(&T, &RangeInclusive<T>) -> Option<String>,
}

enum Missing<T> {
    Required(&'static str),
    Default(T),
    /// What an empty table gives.
    Empty,
    /// The same, also after mistakes.
    Settings,
}

impl<T> Rule<T> {
    /// The key must be there. `example` shows how to write it.
    pub(super) const fn required(example: &'static str) -> Self {
        Self { missing: Missing::Required(example), bounds: None, outside: |_, _| None }
    }

    /// The value when the key is absent.
    pub(super) const fn default(value: T) -> Self {
        Self { missing: Missing::Default(value), bounds: None, outside: |_, _| None }
    }

    /// A section that may be absent; then it is read as if it were empty.
    pub(super) const fn section() -> Self {
        Self { missing: Missing::Empty, bounds: None, outside: |_, _| None }
    }

    /// A section in which every key has a default. After a mistake, reported, the defaults stand
    /// in, so that the object around it is still there for the checks that concern several.
    pub(super) const fn settings() -> Self {
        Self { missing: Missing::Settings, bounds: None, outside: |_, _| None }
    }
}

impl<T: Bounded> Rule<T> {
    /// The smallest and the largest value.
    pub(super) fn within(self, bounds: RangeInclusive<T>) -> Self {
        Self {
            bounds: Some(bounds),
            outside: |value, bounds| {
                (!bounds.contains(value)).then(|| {
                    let (min, max) = (bounds.start().show(), bounds.end().show());
                    format!("{} is not between {min} and {max}", value.show())
                })
            },
            ..self
        }
    }
}

/// The entries of a table that is being read.
pub(super) struct Table<'n> {
    span: Span,
    entries: &'n [Entry],
}

/// The walk through one tree: where it is, and the mistakes found so far.
pub(super) struct Walk {
    source: Arc<Source>,
    /// The keys that lead to the value that is being read.
    path: Vec<String>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Walk {
    /// Begins at the root.
    pub(super) fn new(source: &Arc<Source>) -> Self {
        Self { source: Arc::clone(source), path: Vec::new(), diagnostics: Vec::new() }
    }

    /// Reports a mistake at `span`; `dress` adds why and cure.
    pub(super) fn report(
        &mut self,
        span: &Span,
        what: impl Into<String>,
        dress: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        self.diagnostics.push(dress(Diagnostic::new(&self.source, span.clone(), what)));
    }

    /// Reports a value of the wrong kind and returns `None`.
    pub(super) fn wrong_kind<T: Value>(&mut self, node: &Node) -> Option<T> {
        let what = format!("`{}` is {}", self.path(), node.kind.noun());
        self.report(&node.span, what, |it| it.why(format!("expected {}", T::EXPECTED)));
        None
    }

    /// Reports a value that cannot be what it should and returns `None`.
    pub(super) fn bad_value<T: Value>(&mut self, node: &Node, what: String) -> Option<T> {
        self.report(&node.span, what, |it| it.why(format!("expected {}", T::EXPECTED)));
        None
    }

    /// The node as a table that has no other keys than `keys`.
    pub(super) fn table<'n>(&mut self, node: &'n Node, keys: &[&str]) -> Option<Table<'n>> {
        let Kind::Table(entries) = &node.kind else {
            let what = format!("`{}` is {}", self.path(), node.kind.noun());
            self.report(&node.span, what, |it| it.why("expected a table"));
            return None;
        };
        for entry in entries.iter().filter(|entry| !keys.contains(&&*entry.key)) {
            let place = match &*self.path() {
                "" => String::new(),
                path => format!(" in `{path}`"),
            };
            let cure = nearest(&entry.key, keys.iter().copied()).map_or_else(
                || format!("the keys here are: {}", keys.join(", ")),
                |key| format!("did you mean `{key}`?"),
            );
            let what = format!("unknown key `{}`{place}", entry.key);
            self.report(&entry.key_span, what, |it| it.why("not a key").cure(cure));
        }
        Some(Table { span: node.span.clone(), entries })
    }

    /// The value of `key`, by its rule.
    pub(super) fn field<T: Value>(
        &mut self,
        table: &Table<'_>,
        key: &str,
        rule: Rule<T>,
    ) -> Option<T> {
        let empty = || Node { span: table.span.clone(), kind: Kind::Table(Vec::new()) };
        let Some(entry) = table.entries.iter().find(|entry| entry.key == key) else {
            return match rule.missing {
                Missing::Default(value) => Some(value),
                Missing::Empty | Missing::Settings => {
                    self.inside(key, |walk| T::read(&empty(), walk))
                }
                Missing::Required(example) => {
                    self.missing(table, key, example);
                    None
                }
            };
        };
        let Some(value) = self.inside(key, |walk| T::read(&entry.value, walk)) else {
            return match rule.missing {
                Missing::Settings => self.inside(key, |walk| T::read(&empty(), walk)),
                _ => None,
            };
        };
        let outside = rule.bounds.and_then(|bounds| (rule.outside)(&value, &bounds));
        if let Some(outside) = outside {
            self.report(&entry.value.span, format!("`{key}` is out of range"), |it| {
                it.why(outside)
            });
            return None;
        }
        Some(value)
    }

    /// Reads what lies under `key`.
    pub(super) fn inside<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let value = read(self);
        self.path.pop();
        value
    }

    /// The keys that lead here, as `listeners.web.limits` or `upstreams.users.endpoints[0]`.
    fn path(&self) -> String {
        self.path.join(".").replace(".[", "[")
    }

    fn missing(&mut self, table: &Table<'_>, key: &str, example: &str) {
        let what = match &*self.path() {
            "" => format!("`{key}` is missing"),
            path => format!("`{path}` has no `{key}`"),
        };
        self.report(&table.span, what, |it| it.cure(format!("add {example}")));
    }
}

/// A value that remembers its place, for checks that concern several values.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// Where it stands.
    pub span: Span,
    value: T,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Value> Value for Spanned<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        Some(Self { span: node.span.clone(), value: T::read(node, walk)? })
    }
}

/// A list, read to its end whatever is wrong in it.
impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = "a list";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        let Kind::List(items) = &node.kind else {
            return walk.wrong_kind(node);
        };
        let mut read = |(index, item)| walk.inside(&format!("[{index}]"), |it| T::read(item, it));
        let items: Vec<Option<T>> = items.iter().enumerate().map(&mut read).collect();
        items.into_iter().collect()
    }
}

/// A key that may be absent.
impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        T::read(node, walk).map(Some)
    }
}

/// Objects by name, in the order of the text.
#[derive(Clone, Debug)]
pub struct Named<T> {
    /// Every name, also of objects that could not be read.
    pub(super) names: Vec<Spanned<String>>,
    /// The objects.
    pub objects: Vec<(Spanned<String>, T)>,
}

/// Names are at most this long: they become labels of metrics.
const NAME_BYTES_MAX: usize = 64;

impl<T: Value> Value for Named<T> {
    const EXPECTED: &'static str = "a table of named objects";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        let Kind::Table(entries) = &node.kind else {
            return walk.wrong_kind(node);
        };
        let mut named = Self { names: Vec::new(), objects: Vec::new() };
        for entry in entries {
            let sound = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
            if !entry.key.bytes().all(sound) || !(1..=NAME_BYTES_MAX).contains(&entry.key.len()) {
                let what = format!("`{}` cannot be a name", entry.key);
                walk.report(&entry.key_span, what, |it| {
                    it.why(format!("1 to {NAME_BYTES_MAX} of a-z, 0-9, _ and -"))
                });
            }
            let name = Spanned { span: entry.key_span.clone(), value: entry.key.clone() };
            named.names.push(name.clone());
            if let Some(object) = walk.inside(&entry.key, |walk| T::read(&entry.value, walk)) {
                named.objects.push((name, object));
            }
        }
        // Objects that failed have been reported; the others are checked against each other.
        Some(named)
    }
}
