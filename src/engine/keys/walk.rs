//! The walk through the items of a configuration: the place it is at, and the mistakes so far.
//!
//! Invariant: no message shows a value that came from a variable.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::diagnostic::{DIAGNOSTICS_KEPT_MAX, Diagnostic, Texts};
use super::item::{Item, ItemEntry, ItemKind};
use super::mistake::Mistake;
use super::nearest::nearest;
use super::path::{PathStep, path};
use super::source::Span;
use super::written::Written;

/// A table that is being read.
pub struct ReadTable<'n> {
    /// The place of the table.
    pub span: Span,
    /// Its keys.
    pub entries: &'n [ItemEntry<'n>],
    /// In place of the table stands the value of this key alone.
    pub short: Option<(&'static str, &'n Item<'n>)>,
}

/// Says, of a key that is not known, why and what to do. `path` is that of the table around it.
pub type Advice = fn(path: &str, key: &str) -> Option<(&'static str, String)>;

/// The walk through one tree of items.
pub struct Walk<'n> {
    /// The texts that are read.
    pub texts: &'n Texts,
    /// The keys that lead to the value that is being read.
    steps: Vec<PathStep<'n>>,
    /// The texts that cannot be read in part. A key that seems to be missing may stand there.
    torn: &'n BTreeSet<u32>,
    advice: Advice,
    /// The next table has this key, which was read already.
    tag: Option<&'static str>,
    /// The bounds of the value that is being read.
    range: Option<(Written, Written)>,
    /// The mistakes so far.
    pub diagnostics: Vec<Diagnostic>,
    /// The paths of values that came from variables.
    pub secrets: BTreeSet<String>,
}

impl<'n> Walk<'n> {
    /// Begins at the root. `torn` has the numbers of the texts that cannot be read in part.
    pub fn new(texts: &'n Texts, torn: &'n BTreeSet<u32>, advice: Advice) -> Self {
        let (steps, diagnostics, secrets) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { texts, steps, torn, advice, tag: None, range: None, diagnostics, secrets }
    }

    /// Reports a mistake at `span`; `complete` adds the reason and the cure.
    pub fn report(
        &mut self,
        span: Span,
        what: impl Into<String>,
        complete: impl FnOnce(Diagnostic) -> Diagnostic,
    ) {
        if self.is_enough() {
            return;
        }
        self.diagnostics.push(complete(Diagnostic::error(self.texts, span, what)));
    }

    /// Whether so much is wrong that more is not worth its memory.
    fn is_enough(&self) -> bool {
        self.diagnostics.len() >= DIAGNOSTICS_KEPT_MAX
    }

    /// Reports a value that cannot be read. Of a secret value the mistake is not shown: it names
    /// the value.
    pub fn mistake(&mut self, item: &Item<'_>, mistake: Mistake, expected: &str) {
        if matches!(item.kind, ItemKind::Broken) {
            return;
        }
        let (what, cure) = match mistake {
            _ if item.is_secret() => {
                (format!("the value that `{}` gets cannot be used", self.path()), None)
            }
            Mistake::Kind { cure } => (format!("`{}` is {}", self.path(), item.kind.noun()), cure),
            Mistake::Value { what, cure } => (what, cure),
        };
        let expected = match &self.range {
            Some((min, max)) => format!("{expected}, from {min} to {max}"),
            None => expected.to_owned(),
        };
        self.report(item.span, what, |it| match cure {
            Some(cure) => it.because(format!("expected {expected}")).cured_by(cure),
            None => it.cured_by(format!("write {expected}")),
        });
    }

    /// Reads a value that must lie in `range`. Messages about other values name the range.
    pub fn in_range<T>(
        &mut self,
        range: Option<(Written, Written)>,
        read: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.range = range;
        let value = read(self);
        self.range = None;
        value
    }

    /// The item as it is written, if it may be shown and is short enough to repeat.
    pub fn written(&self, item: &Item<'_>) -> Option<&'n str> {
        let written = self.texts.written(item.span);
        let short = !written.is_empty() && written.len() <= REPEATED_BYTES_MAX;
        (short && !written.contains(['\n', '$'])).then_some(written)
    }

    /// Notes that the value here came from a variable.
    pub fn keep_secret(&mut self) {
        let path = self.path();
        self.secrets.insert(path);
    }

    /// Says that `tag` of the table that is read next has been read.
    pub fn tag_is_read(&mut self, tag: &'static str) {
        self.tag = Some(tag);
    }

    /// The item as a table that has no other keys than `keys`. Of another item, `instead` says which
    /// tables are right, and makes a cure of the item as it is written.
    pub fn table(
        &mut self,
        item: &'n Item<'n>,
        keys: &[&str],
        instead: impl FnOnce(Option<&str>) -> (String, Option<String>),
    ) -> Option<ReadTable<'n>> {
        let tag = self.tag.take();
        let entries = self.entries(item, instead)?;
        let unknown = |entry: &&ItemEntry<'_>| {
            !keys.contains(&&*entry.key) && tag.is_none_or(|tag| tag != entry.key)
        };
        for entry in entries.iter().filter(unknown) {
            if self.is_enough() {
                break;
            }
            self.unknown_key(entry, keys);
        }
        Some(ReadTable { span: item.span, entries, short: None })
    }

    fn unknown_key(&mut self, entry: &ItemEntry<'_>, keys: &[&str]) {
        let path = self.path();
        let place = if path.is_empty() { String::new() } else { format!(" in `{path}`") };
        let near = nearest(&entry.key, keys.iter().copied());
        let (why, cure) = match ((self.advice)(&path, &entry.key), near) {
            (Some((why, cure)), _) => (why, cure),
            (None, Some(key)) => ("not a key", format!("did you mean `{key}`?")),
            (None, None) => ("not a key", format!("the keys here are: {}", keys.join(", "))),
        };
        let what = format!("unknown key `{}`{place}", entry.key);
        self.report(entry.key_span, what, |it| it.because(why).cured_by(cure));
    }

    /// The item as a table with any keys, or `instead` as for [`Self::table`].
    pub fn entries(
        &mut self,
        item: &'n Item<'n>,
        instead: impl FnOnce(Option<&str>) -> (String, Option<String>),
    ) -> Option<&'n [ItemEntry<'n>]> {
        if let ItemKind::Table(entries) = &item.kind {
            return Some(entries);
        }
        let (expected, cure) = instead(self.written(item));
        self.mistake(item, Mistake::Kind { cure }, &expected);
        None
    }

    /// Reads the value behind `step`.
    pub fn inside<T>(&mut self, step: PathStep<'n>, read: impl FnOnce(&mut Self) -> T) -> T {
        self.steps.push(step);
        let value = read(self);
        self.steps.pop();
        value
    }

    /// The keys that lead here, as `listeners.web.limits` or `upstreams.users.endpoints[0]`.
    pub fn path(&self) -> String {
        path(&self.steps)
    }

    /// The last key that leads here.
    pub fn key(&self) -> Cow<'n, str> {
        let key = self.steps.iter().rev().find_map(|step| match step {
            PathStep::Key(key) => Some(*key),
            PathStep::Index(_) => None,
        });
        key.unwrap_or_default().into()
    }

    /// Reports that the table at `span` lacks something.
    pub fn missing(&mut self, span: Span, what: String, cure: String) {
        if !self.torn.contains(&span.source) {
            self.report(span, what, |it| it.cured_by(cure));
        }
    }

    /// Reports that `key` is missing in the table at `span`.
    pub fn missing_key(&mut self, span: Span, key: &str, example: &str) {
        let what = match &*self.path() {
            "" => format!("`{key}` is missing"),
            path => format!("`{path}` has no `{key}`"),
        };
        self.missing(span, what, format!("add {key} = {example}"));
    }
}

/// A longer value is not repeated in a cure.
const REPEATED_BYTES_MAX: usize = 100;
