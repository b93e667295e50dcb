//! A mistake in a configuration: its place, the reason, and the cure.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::source::{SourceText, Span};

/// So many mistakes are shown at once; the others are only counted. Nobody reads more,
/// and a large text that is not a configuration at all would fill a log.
pub const DIAGNOSTICS_SHOWN_MAX: usize = 100;

/// So many mistakes of a kind are kept. In 8 MiB there can be millions.
pub const DIAGNOSTICS_KEPT_MAX: usize = 10_000;

/// Whether a configuration can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can, but probably it is not meant as it is written.
    Warning,
    /// It cannot.
    Error,
}

/// The texts of a configuration in the order in which they are read.
#[derive(Clone, Debug, Default)]
pub struct Texts(Vec<Arc<SourceText>>);

impl Texts {
    /// Adds a text and returns its number.
    pub fn push(&mut self, file: &str, text: String) -> u32 {
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0.push(Arc::new(SourceText::new(file, text)));
        number
    }

    fn at(&self, span: Span) -> Option<&Arc<SourceText>> {
        self.0.get(span.source as usize)
    }

    /// The name of the file that a span is in.
    pub fn file(&self, span: Span) -> &str {
        self.at(span).map(|source| source.file.as_str()).unwrap_or_default()
    }

    /// The text of a span, as written.
    pub fn written(&self, span: Span) -> &str {
        self.at(span).and_then(|source| source.text.get(span.range())).unwrap_or_default()
    }
}

/// A place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Location {
    source: Arc<SourceText>,
    span: Span,
}

/// One mistake in a configuration.
///
/// `Display` renders it the way rustc does: the place, the line, a caret. Texts are lower case,
/// without a full stop, and name the value, unless it came from a variable: then they show the
/// variable. Secrets are masked, in texts and in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    severity: Severity,
    place: Location,
    what: String,
    why: Option<String>,
    also: Option<(Location, String)>,
    cure: Option<String>,
}

impl Diagnostic {
    /// The mistake `what` at `span`.
    pub fn error(texts: &Texts, span: Span, what: impl Into<String>) -> Self {
        let (place, what) = (Location::of(texts, span), what.into());
        Self { severity: Severity::Error, place, what, why: None, also: None, cure: None }
    }

    /// Only a warning.
    pub fn warning(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Says why, beside the caret.
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Shows a second place that has to do with it.
    pub fn also(self, texts: &Texts, span: Span, why: impl Into<String>) -> Self {
        Self { also: Some((Location::of(texts, span), why.into())), ..self }
    }

    /// Says how to mend it.
    pub fn cured_by(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// Whether the configuration can be used all the same.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// The name of the file that the mistake is in.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.place.source.file
    }

    /// Line and column of the mistake, both counted from 1, the column in characters.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        self.place.position()
    }

    /// The mistake.
    #[must_use]
    pub fn what(&self) -> Cow<'_, str> {
        self.place.without_secrets(&self.what)
    }

    /// Why it is wrong, in a few words.
    #[must_use]
    pub fn why(&self) -> Option<Cow<'_, str>> {
        self.why.as_deref().map(|why| self.place.without_secrets(why))
    }

    /// How to mend it.
    #[must_use]
    pub fn cure(&self) -> Option<Cow<'_, str>> {
        self.cure.as_deref().map(|cure| self.place.without_secrets(cure))
    }

    /// Diagnostics in the order of the texts.
    pub fn order(&self) -> impl Ord + use<> {
        (self.place.span, Reverse(self.severity))
    }

    /// The same for machines: an object with `file`, `line`, `column`, `severity`, `what`, `why`,
    /// `cure` (the last two may be null), and with `also` for a second place.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (line, column) = self.position();
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let mut object = json!({
            "file": self.file(), "line": line, "column": column, "severity": severity,
            "what": self.what(), "why": self.why(), "cure": self.cure(),
        });
        if let (Some((place, why)), Some(object)) = (&self.also, object.as_object_mut()) {
            let (line, column) = place.position();
            let also = json!({
                "file": place.source.file, "line": line, "column": column,
                "why": place.without_secrets(why),
            });
            object.insert("also".to_owned(), also);
        }
        object
    }

    /// The text of it, for a terminal that shows colours or one that does not.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let (what, why, cure) = (self.what(), self.why(), self.cure());
        let also = self.also.as_ref().map(|(place, why)| (place, place.without_secrets(why)));
        let mut window = self.place.lines();
        let mut second = None;
        if let Some((place, text)) = &also {
            let lines = place.lines();
            let both = window.start.min(lines.start)..window.end.max(lines.end);
            // Two places in one text are shown as one piece of it, unless it would be large.
            if place.source == self.place.source && both.len() <= PIECE_BYTES_MAX {
                window = both;
                second = Some((place, text, None));
            } else {
                second = Some((place, text, Some(lines)));
            }
        }
        let mut snippet = self.place.snippet(&window).annotation(self.place.mark(
            AnnotationKind::Primary,
            why.as_deref(),
            &window,
        ));
        let mut further = None;
        match second {
            Some((place, text, None)) => {
                snippet =
                    snippet.annotation(place.mark(AnnotationKind::Context, Some(text), &window));
            }
            Some((place, text, Some(lines))) => {
                let mark = place.mark(AnnotationKind::Context, Some(text), &lines);
                let snippet = place.snippet(&lines).annotation(mark);
                further = Some((place, lines, snippet));
            }
            None => {}
        }
        let level = match self.severity {
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let mut group =
            level.primary_title(&*what).elements(self.place.origin(&window)).element(snippet);
        if let Some((place, lines, snippet)) = further {
            group = group.elements(place.origin(&lines)).element(snippet);
        }
        if let Some(cure) = &cure {
            group = group.element(Level::HELP.message(&**cure));
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The first [`DIAGNOSTICS_SHOWN_MAX`] of them, one below the other, and how many there are.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], colours: bool) -> String {
    let shown = diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX);
    let mut text: String = shown.map(|it| format!("{}\n\n", it.render(colours))).collect();
    text.push_str(&summary(diagnostics));
    text
}

/// The first [`DIAGNOSTICS_SHOWN_MAX`] of them for machines: see [`Diagnostic::to_json`].
#[must_use]
pub fn to_json(diagnostics: &[Diagnostic]) -> Value {
    diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).map(Diagnostic::to_json).collect()
}

/// "3 mistakes, 1 warning"; and that not all of them are shown, if so.
#[must_use]
pub fn summary(diagnostics: &[Diagnostic]) -> String {
    let count = |severity, noun: &str| {
        let count = diagnostics.iter().filter(|it| it.severity == severity).count();
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {noun}{plural}"))
    };
    let counts = [count(Severity::Error, "mistake"), count(Severity::Warning, "warning")];
    let counts = counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    if diagnostics.len() > DIAGNOSTICS_SHOWN_MAX {
        format!("{counts}; the first {DIAGNOSTICS_SHOWN_MAX} are shown")
    } else {
        counts
    }
}

/// The largest piece of a text that a diagnostic shows lines of.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// A line is shown this far to both sides of the mistake; configurations in one long line exist.
const LINE_BYTES_MAX: usize = 400;

impl Location {
    fn of(texts: &Texts, span: Span) -> Self {
        let unknown = || Arc::new(SourceText::new("", String::new()));
        Self { source: texts.at(span).map_or_else(unknown, Arc::clone), span }
    }

    fn without_secrets<'m>(&self, message: &'m str) -> Cow<'m, str> {
        self.source.without_secrets(message, self.span.range())
    }

    fn position(&self) -> (usize, usize) {
        let start = self.span.range().start;
        let before = self.source.text.get(..start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }

    /// The bytes of the lines that the place lies in, cut where they are very long.
    fn lines(&self) -> Range<usize> {
        let text = &self.source.text;
        let range = self.span.range();
        let start = range.start.min(text.len());
        let end = range.end.clamp(start, text.len());
        let before = text.get(..start).unwrap_or_default();
        let first = before.rfind('\n').map_or(0, |newline| newline + 1);
        let behind = text.get(end..).unwrap_or_default();
        let last = behind.find('\n').map_or(text.len(), |newline| end + newline);
        let first = text.ceil_char_boundary(first.max(start.saturating_sub(LINE_BYTES_MAX)));
        let last = text.floor_char_boundary(last.min(start + LINE_BYTES_MAX));
        first.min(start)..last.max(first)
    }

    /// Whether the window begins inside a line. Then columns count from elsewhere.
    fn is_cut(&self, window: &Range<usize>) -> bool {
        let before = self.source.text.get(..window.start).unwrap_or_default();
        !before.is_empty() && !before.ends_with('\n')
    }

    /// Says where the place is, if its snippet cannot.
    fn origin(&self, window: &Range<usize>) -> Option<Origin<'_>> {
        self.is_cut(window).then(|| {
            let (line, column) = self.position();
            Origin::path(&self.source.file).line(line).char_column(column)
        })
    }

    fn snippet(&self, window: &Range<usize>) -> Snippet<'_, Annotation<'_>> {
        let text = &self.source.text;
        let before = text.get(..window.start).unwrap_or_default();
        let path = (!self.is_cut(window)).then_some(&self.source.file);
        let shown = self.source.shown();
        Snippet::source(shown.get(window.clone()).unwrap_or_default())
            .path(path)
            .line_start(before.matches('\n').count() + 1)
    }

    fn mark<'a>(
        &self,
        kind: AnnotationKind,
        label: Option<&'a str>,
        window: &Range<usize>,
    ) -> Annotation<'a> {
        let range = self.span.range();
        let inside = |at: usize| at.clamp(window.start, window.end) - window.start;
        kind.span(inside(range.start)..inside(range.end)).label(label)
    }
}
