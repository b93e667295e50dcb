//! The configuration as written: a typed model in which every value that matters later knows its
//! place.
//!
//! [`parse`] reads [`Sources`] and returns the [`Model`], or every mistake at once. One file per
//! section defines its keys; `check` finds the mistakes between several objects. The control crate
//! reads files, environment and patterns; [`references`] tells it which ones a text needs.
//!
//! Invariant: the value of a variable is shown nowhere, neither in a diagnostic nor in
//! [`Model::normalised`].

mod access_log;
mod admin;
mod advice;
mod balance;
mod certificate;
mod check;
mod consumer;
mod document;
mod files;
mod health;
mod hidden;
mod in_flight;
mod include;
mod listener;
mod load;
mod matching;
mod model;
mod names;
mod paths;
mod redirect;
mod reference;
mod reply;
mod retry;
mod route;
mod runtime;
mod sources;
#[cfg(test)]
mod tests;
mod ties;
mod tls;
mod upgrades;
mod upstream;
mod variables;
mod warnings;

pub use access_log::{AccessLog, LogFormat, LogTarget};
pub use admin::{Admin, AdminAddress, Token};
pub use balance::Balance;
pub use certificate::Certificate;
pub(crate) use check::check;
pub use consumer::Consumer;
pub use document::Document;
pub use files::files;
pub use health::{EjectRules, HealthCheck, Probe};
pub use in_flight::InFlight;
pub use include::{Includes, Pattern};
pub use listener::{Listener, ListenerLimits, ListenerTimeouts, ProxyProtocol};
pub use matching::{
    Host, Match, MatchedCookie, MatchedHeader, MatchedQuery, Method, PathRule, ValuePatterns,
};
pub use model::Model;
pub use redirect::{LocationPart, Redirect, RedirectStatus};
pub use reference::{reference, sample, schema};
pub use reply::{Reply, ReplyBody, ReplyHeaders};
pub use retry::{Retry, RetryMethods, RetryOn, RetryWord, TriesMax};
pub use route::{Destination, Route, RouteTimeouts};
pub use runtime::{Cores, CpuList, DriverChoice, ProcessLogFormat, Runtime};
pub use sources::{CONTENT_BYTES_MAX, SOURCE_BYTES_MAX, SOURCES_MAX, Sources, VALUE_BYTES_MAX};
pub use tls::{ClientAuth, ListenerTls, TlsPolicy, UpstreamTls};
pub use upstream::{Endpoint, PoolLimits, Upstream, UpstreamTimeouts};
pub use variables::{References, references};

use load::Loaded;

pub use crate::keys::{
    ByteSize, DIAGNOSTICS_SHOWN_MAX, Diagnostic, DnsServer, FilePath, Limit, Name, Named, Severity,
    Span, Spanned, render, summary, to_json,
};
use crate::keys::{Value, Walk};

/// Reads a configuration.
///
/// # Errors
/// Every mistake in it, and the warnings, in the order of the texts. Mistakes between several objects
/// are found only when all texts are TOML.
pub fn parse(sources: &Sources) -> Result<Model, Vec<Diagnostic>> {
    let Loaded { texts, root, mut diagnostics, whole, torn } = load::load(sources);
    let mut walk = Walk::new(&texts, &torn, advice::of_key);
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
        // Beside a mistake, an object that looks superfluous may only be misspelt.
        diagnostics.extend(warnings::warnings(&model));
    }
    diagnostics.sort_by_key(Diagnostic::order);
    if !sound {
        return Err(diagnostics);
    }
    model.warnings = diagnostics;
    Ok(model)
}
