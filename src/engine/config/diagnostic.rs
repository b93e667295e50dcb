//! What is wrong with a configuration, where, why, and how to cure it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Where in the text a thing stands: byte offsets.
pub type Span = Range<usize>;

/// A text and the name it came under. Diagnostics share it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The name of the file, for messages; it is not opened.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// One mistake in a configuration.
///
/// `Display` renders it the way rustc does: the place, the line, a caret. Texts are lower case,
/// without a full stop, and name the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    source: Arc<Source>,
    span: Span,
    what: String,
    why: Option<String>,
    also: Option<(Span, String)>,
    cure: Option<String>,
}

impl Diagnostic {
    /// Says `what` is wrong at `span`.
    pub(crate) fn new(source: &Arc<Source>, span: Span, what: impl Into<String>) -> Self {
        Self {
            source: Arc::clone(source),
            span,
            what: what.into(),
            why: None,
            also: None,
            cure: None,
        }
    }

    /// Says why, beside the caret.
    pub(crate) fn why(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Shows a second place that has to do with it.
    pub(crate) fn also(self, span: Span, why: impl Into<String>) -> Self {
        Self { also: Some((span, why.into())), ..self }
    }

    /// Says what to write instead.
    pub(crate) fn cure(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into()), ..self }
    }

    /// Line and column of the mistake, both counted from 1, the column in characters.
    #[must_use]
    pub fn position(&self) -> (usize, usize) {
        let before = self.source.text.get(..self.span.start).unwrap_or(&self.source.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).map_or(0, |line| line.chars().count());
        (before.matches('\n').count() + 1, column + 1)
    }

    /// The text of it, for a terminal that shows colours or one that does not.
    #[must_use]
    pub fn render(&self, colours: bool) -> String {
        let primary = AnnotationKind::Primary.span(self.span.clone()).label(self.why.as_deref());
        let mut snippet =
            Snippet::source(&self.source.text).path(&self.source.file).annotation(primary);
        if let Some((span, why)) = &self.also {
            snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(why));
        }
        let mut group = Level::ERROR.primary_title(&self.what).element(snippet);
        if let Some(cure) = &self.cure {
            group = group.element(Level::HELP.message(cure));
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
