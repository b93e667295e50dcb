//! From texts to one tree: decodes, parses, follows includes, merges.
//!
//! Invariants: a file is read once, whichever files include it, so circles end; an object that two
//! files define is an error that names both places.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use foldhash::fast::FixedState;

use super::document::Document;
use super::include::{INCLUDE, Pattern};
use super::sources::{SOURCE_BYTES_MAX, SOURCES_MAX, Sources};
use super::variables::Variables;
use crate::keys::{
    ByteSize, Diagnostic, Item, ItemEntry, ItemKind, Span, Texts, Value, toml, torn,
};

/// The texts as one tree.
pub(super) struct Loaded<'s> {
    pub(super) texts: Texts,
    pub(super) root: Item<'s>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Whether every text is in the tree as a whole. If not, an object that seems to be missing may be
    /// in the rest.
    pub(super) whole: bool,
    /// The numbers of the texts of which only a part is in the tree.
    pub(super) torn: BTreeSet<u32>,
}

/// Loads everything that the first text includes, and itself.
pub(super) fn load(sources: &Sources) -> Loaded<'_> {
    let mut loader = Loader {
        sources,
        texts: Texts::default(),
        variables: Variables::new(sources),
        merge: Merge::new(),
        diagnostics: Vec::new(),
        whole: true,
        torn: BTreeSet::new(),
        queue: VecDeque::from([(sources.main(), None)]),
        known: HashSet::from([sources.main()]),
        includes: HashMap::new(),
    };
    while let Some((file, place)) = loader.queue.pop_front() {
        loader.file(file, place);
    }
    loader.circle();
    let Loader { texts, variables, merge, mut diagnostics, whole, torn, .. } = loader;
    diagnostics.extend(variables.diagnostics);
    let root = Item { span: Span::START, kind: ItemKind::Table(merge.entries) };
    Loaded { texts, root, diagnostics, whole, torn }
}

struct Loader<'s> {
    sources: &'s Sources,
    texts: Texts,
    variables: Variables<'s>,
    merge: Merge<'s>,
    diagnostics: Vec<Diagnostic>,
    whole: bool,
    torn: BTreeSet<u32>,
    /// Files to read, and the place that asks for them.
    queue: VecDeque<(&'s str, Option<Span>)>,
    known: HashSet<&'s str>,
    /// The files that each file includes, and the place of the pattern.
    includes: HashMap<&'s str, Vec<(&'s str, Span)>>,
}

impl<'s> Loader<'s> {
    fn file(&mut self, file: &'s str, place: Option<Span>) {
        let bytes = match self.sources.file(file) {
            Some(Ok(bytes)) => bytes,
            unread => {
                let why = unread.and_then(|it| it.as_ref().err());
                let why = why.map_or("it did not come with this text", String::as_str);
                let what = format!("cannot read {file}: {why}");
                let place = place.unwrap_or(Span::START);
                let cure = "name a file that is there and that the gateway may read";
                self.refuse(Diagnostic::error(&self.texts, place, what).cured_by(cure));
                return;
            }
        };
        let Some((number, text)) = self.decode(file, bytes) else {
            return;
        };
        self.variables.file = file;
        let mut entries = match toml::read(number, text) {
            Ok(entries) => entries,
            Err(error) => {
                let torn = torn::read(&self.texts, number, text, &error);
                self.whole = false;
                self.torn.insert(number);
                self.diagnostics.extend(torn.diagnostics);
                torn.entries
            }
        };
        self.variables.replace_all(&mut entries, text, &self.texts);
        for entry in &entries {
            if entry.key == INCLUDE {
                self.include(file, &entry.value);
            }
        }
        self.merge.add(entries, &self.texts, &mut self.diagnostics);
    }

    /// The bytes as text, kept under a number.
    fn decode(&mut self, file: &str, bytes: &'s [u8]) -> Option<(u32, &'s str)> {
        if bytes.len() > SOURCE_BYTES_MAX {
            let number = self.texts.push(file, String::new());
            let max = ByteSize(SOURCE_BYTES_MAX as u64);
            let what = format!("a configuration has at most {max} in one file");
            let cure = "is it the right file? If so, split it with `include`";
            self.refuse(
                Diagnostic::error(&self.texts, Span::new(number, 0..0), what).cured_by(cure),
            );
            return None;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Some((self.texts.push(file, text.to_owned()), text)),
            Err(error) => {
                let number = self.texts.push(file, String::from_utf8_lossy(bytes).into_owned());
                let at = error.valid_up_to();
                let byte = bytes.get(at).copied().unwrap_or_default();
                // The letter that replaces the byte in the text has three.
                let span = Span::new(number, at..at + 3);
                let what = format!("the byte 0x{byte:02x} is not UTF-8");
                let cure = "save the file in UTF-8";
                self.refuse(
                    Diagnostic::error(&self.texts, span, what).because("not text").cured_by(cure),
                );
                None
            }
        }
    }

    /// Queues the files that the patterns in `item` mean. Other values are reported when the
    /// document is read.
    fn include(&mut self, file: &'s str, node: &Item<'_>) {
        let ItemKind::List(items) = &node.kind else { return };
        for item in items {
            let Ok(Pattern(pattern)) = Pattern::parse(&item.kind) else { continue };
            match self.sources.included(file, &pattern) {
                Some(Ok(names)) => self.queue(file, names, &pattern, item.span),
                Some(Err(why)) => {
                    let what = format!("cannot include {pattern}: {why}");
                    let cure = "write a path whose folder is there and may be read";
                    self.refuse(Diagnostic::error(&self.texts, item.span, what).cured_by(cure));
                }
                None => {
                    let what = format!("{pattern} did not come with this text");
                    let cure = "write it all in one text, or read the configuration from a file";
                    self.refuse(Diagnostic::error(&self.texts, item.span, what).cured_by(cure));
                }
            }
        }
    }

    fn queue(&mut self, file: &'s str, names: &'s [String], pattern: &str, span: Span) {
        if names.is_empty() {
            let what = format!("no file is named {pattern}");
            let missing = Diagnostic::error(&self.texts, span, what);
            if pattern.contains(['*', '?', '[']) {
                // A folder without files in it is how many begin.
                self.diagnostics.push(missing.because("nothing is included").warning());
            } else {
                let cure = "paths are relative to the file they stand in";
                self.refuse(missing.cured_by(cure));
            }
        }
        for name in names {
            if self.known.len() >= SOURCES_MAX && !self.known.contains(name.as_str()) {
                let what = format!("a configuration has at most {SOURCES_MAX} files");
                self.refuse(
                    Diagnostic::error(&self.texts, span, what)
                        .cured_by("put several objects in a file"),
                );
                return;
            }
            self.includes.entry(file).or_default().push((name, span));
            if self.known.insert(name) {
                self.queue.push_back((name, Some(span)));
            }
        }
    }

    /// Reports a file that includes itself, alone or by way of others: somebody thinks that it is
    /// read twice. One circle is enough, the next one shows when that one is open.
    fn circle(&mut self) {
        // Goes down from the main file. The path holds each file and its next include.
        let mut path = vec![(self.sources.main(), 0)];
        let mut done = HashSet::new();
        while let Some((file, next)) = path.last_mut() {
            let include = self.includes.get(file).and_then(|it| it.get(*next)).copied();
            *next += 1;
            let Some((name, span)) = include else {
                done.insert(*file);
                path.pop();
                continue;
            };
            if let Some(at) = path.iter().position(|(file, _)| *file == name) {
                let circle = path.iter().skip(at).map(|(file, _)| *file).chain([name]);
                let circle: Vec<_> = circle.collect();
                let what = match circle.len() {
                    2 => format!("{name} includes itself"),
                    _ => format!("files include each other in a circle: {}", circle.join(" -> ")),
                };
                let cure = "leave it out, or out of the pattern: each file is read once";
                self.diagnostics.push(Diagnostic::error(&self.texts, span, what).cured_by(cure));
                return;
            }
            if !done.contains(name) {
                path.push((name, 0));
            }
        }
    }

    /// Reports the reason why a text is not in the tree.
    fn refuse(&mut self, diagnostic: Diagnostic) {
        self.whole = false;
        self.diagnostics.push(diagnostic);
    }
}

/// The root that grows by a file at a time.
struct Merge<'s> {
    /// The keys that hold objects by name.
    named: Vec<&'static str>,
    entries: Vec<ItemEntry<'s>>,
    /// Where keys of the root are in `entries`.
    keys: HashMap<Cow<'s, str>, usize, FixedState>,
    /// Of sections that are in several files, the objects by section and name, and where they are
    /// defined.
    objects: HashMap<(Cow<'s, str>, Cow<'s, str>), Span, FixedState>,
    /// Those sections.
    split: HashSet<Cow<'s, str>>,
}

impl<'s> Merge<'s> {
    fn new() -> Self {
        Self {
            named: Document::named(),
            entries: Vec::new(),
            keys: HashMap::default(),
            objects: HashMap::default(),
            split: HashSet::new(),
        }
    }

    fn add(
        &mut self,
        entries: Vec<ItemEntry<'s>>,
        texts: &Texts,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        for entry in entries {
            let named = self.named.contains(&&*entry.key);
            let Some(&at) = self.keys.get(&entry.key) else {
                self.keys.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
                continue;
            };
            let Some(first) = self.entries.get_mut(at) else { continue };
            if named && self.split.insert(entry.key.clone()) {
                note(first, &mut self.objects);
            }
            match (&mut first.value.kind, entry.value.kind) {
                (ItemKind::Table(objects), ItemKind::Table(more)) if named => {
                    for object in more {
                        let key = (entry.key.clone(), object.key.clone());
                        if let Some(&other) = self.objects.get(&key) {
                            let what = format!("`{}.{}` is defined twice", key.0, key.1);
                            diagnostics.push(twice(texts, what, object.key_span, other));
                        } else {
                            self.objects.insert(key, object.key_span);
                            objects.push(object);
                        }
                    }
                }
                // The first one is no table, which is said when the document is read.
                (_, ItemKind::Table(_)) if named => {}
                (_, kind) if named => {
                    let what = format!("`{}` is {}", entry.key, kind.noun());
                    let why = "expected a table of named objects";
                    diagnostics.push(Diagnostic::error(texts, entry.value.span, what).because(why));
                }
                (ItemKind::List(patterns), ItemKind::List(more)) if entry.key == INCLUDE => {
                    patterns.extend(more);
                }
                (ItemKind::Integer(one), ItemKind::Integer(other)) if one == &other => {}
                _ => {
                    let what = format!("`{}` is given in two files", entry.key);
                    diagnostics.push(twice(texts, what, entry.key_span, first.key_span));
                }
            }
        }
    }
}

/// Notes which objects a section has.
fn note<'s>(
    section: &ItemEntry<'s>,
    objects: &mut HashMap<(Cow<'s, str>, Cow<'s, str>), Span, FixedState>,
) {
    let ItemKind::Table(entries) = &section.value.kind else { return };
    for object in entries {
        let key = (section.key.clone(), object.key.clone());
        objects.insert(key, object.key_span);
    }
}

fn twice(texts: &Texts, what: String, here: Span, first: Span) -> Diagnostic {
    Diagnostic::error(texts, here, what)
        .because("the same again")
        .also(texts, first, "first here")
        .cured_by("leave one of them out")
}
