//! The configuration as written: a typed model in which every value that matters later knows its
//! place.
//!
//! [`parse`] reads a text and returns the model, or every mistake at once. One file per section
//! defines its keys; `check` looks at what concerns several objects. Files, variables and
//! includes are control's business: here is only text.

mod check;
mod diagnostic;
mod listener;
mod nearest;
mod route;
mod runtime;
mod section;
#[cfg(test)]
mod tests;
mod tree;
mod upstream;
mod value;

use std::sync::Arc;

pub(crate) use check::check;
pub use diagnostic::{Diagnostic, Source, Span};
pub use listener::{Listener, ListenerLimits, ListenerTimeouts};
pub use route::{Host, Match, PathPrefix, Route};
pub use runtime::{Cores, CpuList, DriverChoice, Runtime};
pub use section::{Named, Spanned};
pub use upstream::{Endpoint, Pool, Upstream, UpstreamTimeouts};
pub use value::{ByteSize, Limit};

use section::{Rule, Value, Walk, section};
use tree::{Kind, Node};

section! {
    /// The whole file.
    pub Document {
        /// The version of this format.
        version: Option<Version> => Rule::default(None);
        /// What the gateway takes of the machine.
        runtime: Runtime => Rule::settings();
        /// Where it listens.
        listeners: Named<Listener> => Rule::section();
        /// Where requests can go.
        upstreams: Named<Upstream> => Rule::section();
        /// Which requests go where.
        routes: Named<Route> => Rule::section();
    }
}

/// A configuration as written, sound in itself.
#[derive(Clone, Debug)]
pub struct Model {
    /// The text it came from.
    pub source: Arc<Source>,
    /// What it says.
    pub document: Document,
}

/// Reads a configuration. `file` is its name for messages.
///
/// # Errors
/// Every mistake in it, in the order of the text.
pub fn parse(text: &str, file: &str) -> Result<Model, Vec<Diagnostic>> {
    let source = Arc::new(Source { file: file.to_owned(), text: text.to_owned() });
    let (tree, torn) = tree::from_toml(&source);
    let mut walk = Walk::new(&source);
    // A torn text has keys in wrong tables and tables without keys: what could be said about them
    // would mislead.
    let document = if torn.is_empty() { Document::read(&tree, &mut walk) } else { None };
    let mut diagnostics = torn;
    diagnostics.append(&mut walk.diagnostics);
    let model = document.map(|document| Model { source, document });
    diagnostics.extend(model.iter().flat_map(check));
    match model {
        Some(model) if diagnostics.is_empty() => Ok(model),
        _ => {
            diagnostics.sort_by_key(Diagnostic::position);
            Err(diagnostics)
        }
    }
}

/// The version of the configuration format. There is one so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version;

impl Value for Version {
    const EXPECTED: &'static str = "1";

    fn read(node: &Node, walk: &mut Walk) -> Option<Self> {
        let _: Option<Self> = match node.kind {
            Kind::Integer(Some(1)) => None,
            Kind::Integer(Some(version)) => {
                walk.bad_value(node, format!("version {version} of the format is not known here"))
            }
            _ => walk.wrong_kind(node),
        };
        // The rest is looked at all the same.
        Some(Self)
    }
}
