//! The configuration as written: a typed model in which every value that matters later knows its
//! place.
//!
//! [`parse`] reads [`Sources`] and returns the [`Model`], or every mistake at once. One file per
//! section defines its keys; `check` looks at what concerns several objects. Files, environment
//! and patterns are control's business: [`references`] tells it what a text asks for.
//!
//! Invariant: what a variable stands for is shown nowhere, neither in a diagnostic nor in
//! [`Model::normalised`].

mod access_log;
mod admin;
mod check;
mod collection;
mod diagnostic;
mod direct;
mod listener;
mod load;
mod matching;
mod nearest;
mod paths;
mod place;
mod redirect;
mod reference;
mod reply;
mod route;
mod runtime;
mod section;
mod shape;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod upgrades;
mod upstream;
mod value;
mod variables;
mod walk;
mod written;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

pub use access_log::{AccessLog, LogFormat, LogTarget};
pub use admin::{Admin, AdminAddress, Token};
pub(crate) use check::check;
pub use collection::{Name, Named, Spanned};
pub use diagnostic::{DIAGNOSTICS_SHOWN_MAX, Diagnostic, Severity, render, summary, to_json};
pub use listener::{Listener, ListenerLimits, ListenerTimeouts};
pub use load::{Includes, Pattern};
pub use matching::{Host, Match, Method, PathRule};
pub use place::ProxyProtocol;
pub use redirect::{Redirect, RedirectPiece, RedirectStatus, RedirectTarget};
pub use reference::{reference, sample, schema};
pub use reply::{Reply, ReplyBody, ReplyHeaders};
pub use route::{Action, Route};
pub use runtime::{Cores, CpuList, DriverChoice, Runtime};
pub use sources::{SOURCE_BYTES_MAX, SOURCES_MAX, Source, Sources, Span, VALUE_BYTES_MAX};
pub use upstream::{Endpoint, PoolLimits, Upstream, UpstreamTimeouts};
pub use value::{ByteSize, CanBeOff, Limit};
pub use variables::{References, references};

use load::Loaded;
use section::{Rule, Value, section};
use shape::Shape;
use sources::Texts;
use tree::{Kind, Node};
use walk::Walk;
use written::Written;

section! {
    /// The whole configuration.
    pub Document {
        /// The version of this format. The first file must say it.
        version: Option<Version> => Rule::optional("1").in_sample();
        /// Further files to read, as paths relative to the file that this stands in; * stands for
        /// any part of a name. Each may hold any objects; an object or a section that is given in
        /// two files is an error.
        include: Includes => Rule::default(Includes(Vec::new())).example("[\"routes/*.toml\"]");
        /// What the gateway takes of the machine.
        runtime: Runtime => Rule::settings();
        /// The admin API.
        admin: Admin => Rule::settings();
        /// One line per request.
        access_log: Option<AccessLog> => Rule::optional_section();
        /// Where it listens.
        listeners: Named<Listener> => Rule::named("web");
        /// Where requests can go.
        upstreams: Named<Upstream> => Rule::named("users");
        /// Which requests go where.
        routes: Named<Route> => Rule::named("users");
    }
}

/// The key under which a file names further ones.
const INCLUDE: &str = "include";

/// A configuration as written, sound in itself.
#[derive(Clone)]
pub struct Model {
    /// What it says.
    pub document: Document,
    /// What is probably not meant so.
    pub warnings: Vec<Diagnostic>,
    /// What it came from.
    texts: Texts,
    /// The paths of values that came from variables.
    secrets: HashSet<String>,
}

/// Reads a configuration.
///
/// # Errors
/// Every mistake in it, and the warnings, in the order of the texts. Of texts that are not TOML
/// only that is said, and then nothing of what concerns several objects.
pub fn parse(sources: &Sources) -> Result<Model, Vec<Diagnostic>> {
    let Loaded { texts, root, mut diagnostics, whole } = load::load(sources);
    let mut walk = Walk::new(&texts);
    let document = Document::read(&root, &mut walk);
    let secrets = std::mem::take(&mut walk.secrets);
    diagnostics.append(&mut walk.diagnostics);
    let Some(document) = document.filter(|_| whole) else {
        diagnostics.sort_by_key(Diagnostic::order);
        return Err(diagnostics);
    };
    let mut model = Model { document, warnings: Vec::new(), texts, secrets };
    diagnostics.extend(check(&model));
    let sound = diagnostics.iter().all(|it| it.severity() == Severity::Warning);
    if sound {
        // Where something is wrong, what looks superfluous may only be misspelt.
        diagnostics.extend(check::warnings(&model));
    }
    diagnostics.sort_by_key(Diagnostic::order);
    if !sound {
        return Err(diagnostics);
    }
    model.warnings = diagnostics;
    Ok(model)
}

impl Model {
    /// The configuration that is in effect, as TOML: every key, also those that were left out, and
    /// everything included. What came from variables is masked, and so are tokens.
    #[must_use]
    pub fn normalised(&self) -> String {
        self.document.write().document(&self.secrets)
    }
}

/// Without the values: some are secret.
impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.normalised())
    }
}

impl Document {
    /// The keys that hold objects by name.
    fn named() -> Vec<&'static str> {
        let Shape::Section(section) = Self::shape() else { return Vec::new() };
        let named = section.keys.iter().filter(|key| matches!(key.shape, Shape::Named(_)));
        named.map(|key| key.name).collect()
    }
}

/// The version of the configuration format. There is one so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version;

impl Value for Version {
    fn expected() -> Cow<'static, str> {
        "1".into()
    }

    fn shape() -> Shape {
        Shape::Integers(&[1])
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let _: Option<Self> = match node.kind {
            Kind::Integer(Some(1)) => None,
            Kind::Integer(Some(version)) => {
                let what = format!("version {version} of the format is not known here");
                walk.bad_value(node, what, None)
            }
            _ => walk.wrong_kind(node),
        };
        // The rest is looked at all the same.
        Some(Self)
    }

    fn write(&self) -> Written {
        Written::Integer(1)
    }
}
