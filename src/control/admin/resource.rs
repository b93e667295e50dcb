//! A resource of the admin API, as a row: its path, and how it is read and changed.

use std::pin::Pin;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::http::request::Parts;

use super::answer::{Answer, Problem};
use super::body::Bodies;
use super::slots::Slot;
use crate::export::Counted;
use crate::node::Node;

/// All that resources answer from.
pub(super) struct AdminContext<N> {
    pub(super) node: Rc<N>,
    pub(super) counted: Counted,
    pub(super) bodies: Bodies,
}

/// A resource. Each has a file in `resources`, which returns its row.
pub(super) struct Resource<N> {
    /// Its path. A capital letter stands for a name of one segment; at the end, for the rest.
    pub(super) path: &'static str,
    /// The answer to GET and HEAD, in words; or else the change.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "compared with docs/operations.md by a test")
    )]
    pub(super) help: &'static str,
    /// Answers GET and HEAD. Waits for nothing.
    pub(super) read: Option<fn(&AdminContext<N>) -> Answer>,
    /// Answers POST and PUT.
    pub(super) change: Option<ChangeFn<N>>,
}

/// Answers a request for a change, which may wait.
pub(super) type ChangeFn<N> = for<'a> fn(&'a AdminContext<N>, ChangeRequest<'a>) -> Answering<'a>;

/// The answer to a change, on its way.
pub(super) type Answering<'a> = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + 'a>>;

/// A request for a change.
pub(super) struct ChangeRequest<'a> {
    pub(super) parts: &'a Parts,
    pub(super) body: Incoming,
    pub(super) slot: &'a Slot,
}

impl<N: Node> Resource<N> {
    /// A resource that is only read.
    pub(super) const fn read_only(
        path: &'static str,
        help: &'static str,
        read: fn(&AdminContext<N>) -> Answer,
    ) -> Self {
        Self { path, help, read: Some(read), change: None }
    }

    /// The methods that it takes.
    pub(super) const fn methods(&self) -> &'static str {
        match (self.read.is_some(), self.change.is_some()) {
            (true, true) => "GET, HEAD, POST, PUT",
            (true, false) => "GET, HEAD",
            (false, _) => "POST, PUT",
        }
    }

    /// Whether it is at `path`.
    pub(super) fn is_at(&self, path: &str) -> bool {
        names_in(self.path, path).is_some()
    }
}

/// The names that the capital letters of `pattern` stand for in `path`; `None` when it does not fit.
pub(super) fn names_in<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut names = Vec::new();
    let mut rest = path;
    let mut segments = pattern.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let (sent, behind) = if is_last { (rest, "") } else { rest.split_once('/')? };
        let is_name = segment.len() == 1 && segment.bytes().all(|it| it.is_ascii_uppercase());
        match is_name {
            true if sent.is_empty() => return None,
            true => names.push(sent),
            false if segment != sent => return None,
            false => {}
        }
        rest = behind;
    }
    Some(names)
}
