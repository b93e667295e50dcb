//! The walk through the tree of a configuration: where it is, and the mistakes found so far.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::diagnostic::{DIAGNOSTICS_KEPT_MAX, Diagnostic};
use super::nearest::nearest;
use super::section::{Rule, Value, WhenAbsent};
use super::sources::{Span, Texts};
use super::tree::{Entry, Kind, Node};

/// The entries of a table that is being read.
pub(super) struct Table<'n> {
    span: Span,
    entries: &'n [Entry<'n>],
}

/// A step from a value to one inside it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'n> {
    Key(&'n str),
    Index(usize),
}

/// The walk through one tree.
pub(super) struct Walk<'n> {
    pub(super) texts: &'n Texts,
    /// The keys that lead to the value that is being read.
    steps: Vec<Step<'n>>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// The paths of values that came from variables.
    pub(super) secrets: HashSet<String>,
}

impl<'n> Walk<'n> {
    /// Begins at the root.
    pub(super) fn new(texts: &'n Texts) -> Self {
        Self { texts, steps: Vec::new(), diagnostics: Vec::new(), secrets: HashSet::new() }
    }

    /// Reports a mistake at `span`; `dress` adds why and cure.
    pub(super) fn report(
        &mut self,
        span: Span,
        what: impl Into<String>,
        dress: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        if self.is_enough() {
            return;
        }
        self.diagnostics.push(dress(self.texts.error(span, what)));
    }

    /// Whether so much is wrong that more is not worth its memory.
    fn is_enough(&self) -> bool {
        self.diagnostics.len() >= DIAGNOSTICS_KEPT_MAX
    }

    /// Reports a value of the wrong kind and returns `None`.
    pub(super) fn wrong_kind<T: Value>(&mut self, node: &Node<'_>) -> Option<T> {
        if !matches!(node.kind, Kind::Broken) {
            let what = format!("`{}` is {}", self.path(), node.kind.noun());
            self.report(node.span, what, |it| it.because(format!("expected {}", T::expected())));
        }
        None
    }

    /// Reports a value that cannot be what it should and returns `None`. Of a secret value `what`
    /// and `cure` are not said: they name it.
    pub(super) fn bad_value<T: Value>(
        &mut self,
        node: &Node<'_>,
        what: String,
        cure: Option<String>,
    ) -> Option<T> {
        let (what, cure) = if node.is_secret() {
            (format!("the value that `{}` gets cannot be used", self.path()), None)
        } else {
            (what, cure)
        };
        self.report(node.span, what, |it| {
            let it = it.because(format!("expected {}", T::expected()));
            match cure {
                Some(cure) => it.cured_by(cure),
                None => it,
            }
        });
        None
    }

    /// Notes that the value here came from a variable.
    pub(super) fn keep_secret(&mut self) {
        let path = self.path();
        self.secrets.insert(path);
    }

    /// The node as a table that has no other keys than `keys`.
    pub(super) fn table(&mut self, node: &'n Node<'n>, keys: &[&str]) -> Option<Table<'n>> {
        let entries = self.entries(node, "a table")?;
        for entry in entries.iter().filter(|entry| !keys.contains(&&*entry.key)) {
            if self.is_enough() {
                break;
            }
            let place = match &*self.path() {
                "" => String::new(),
                path => format!(" in `{path}`"),
            };
            let cure = nearest(&entry.key, keys.iter().copied()).map_or_else(
                || format!("the keys here are: {}", keys.join(", ")),
                |key| format!("did you mean `{key}`?"),
            );
            let what = format!("unknown key `{}`{place}", entry.key);
            self.report(entry.key_span, what, |it| it.because("not a key").cured_by(cure));
        }
        Some(Table { span: node.span, entries })
    }

    /// The node as a table with any keys.
    pub(super) fn entries(
        &mut self,
        node: &'n Node<'n>,
        expected: &str,
    ) -> Option<&'n [Entry<'n>]> {
        match &node.kind {
            Kind::Table(entries) => Some(entries),
            Kind::Broken => None,
            kind => {
                let what = format!("`{}` is {}", self.path(), kind.noun());
                self.report(node.span, what, |it| it.because(format!("expected {expected}")));
                None
            }
        }
    }

    /// The value of `key`, by its rule.
    pub(super) fn field<T: Value, A: WhenAbsent<T>>(
        &mut self,
        table: &Table<'n>,
        key: &'n str,
        rule: Rule<T, A>,
    ) -> Option<T> {
        let Some(entry) = table.entries.iter().find(|entry| entry.key == key) else {
            return match rule.absent.value() {
                Ok(value) => Some(value),
                Err(example) => {
                    self.missing(table.span, key, example);
                    None
                }
            };
        };
        let read = self.inside(Step::Key(key), |walk| T::read(&entry.value, walk));
        let Some(value) = read else { return rule.absent.stand_in() };
        if let Some(bounds) = rule.bounds.filter(|bounds| !(rule.inside)(&value, bounds)) {
            let (min, max) = (bounds.start().write(), bounds.end().write());
            let why = if entry.value.is_secret() {
                format!("expected {min} to {max}")
            } else {
                format!("{} is not between {min} and {max}", value.write())
            };
            let what = format!("`{key}` is out of range");
            self.report(entry.value.span, what, |it| it.because(why));
            return None;
        }
        Some(value)
    }

    /// Reads what lies behind `step`.
    pub(super) fn inside<T>(&mut self, step: Step<'n>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.steps.push(step);
        let value = read(self);
        self.steps.pop();
        value
    }

    /// The keys that lead here, as `listeners.web.limits` or `upstreams.users.endpoints[0]`.
    pub(super) fn path(&self) -> String {
        path(&self.steps)
    }

    /// Reports that `key` is missing in the table at `span`.
    pub(super) fn missing(&mut self, span: Span, key: &str, example: &str) {
        let what = match &*self.path() {
            "" => format!("`{key}` is missing"),
            path => format!("`{path}` has no `{key}`"),
        };
        self.report(span, what, |it| it.cured_by(format!("add {key} = {example}")));
    }
}

/// Steps as one word.
pub(super) fn path(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) if path.is_empty() => path.push_str(key),
            Step::Key(key) => {
                path.push('.');
                path.push_str(key);
            }
            Step::Index(index) => {
                // A string takes whatever is written to it.
                let _ = write!(path, "[{index}]");
            }
        }
    }
    path
}
