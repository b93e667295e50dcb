//! From a request to its answer: finds the resource by the path, and the action by the method.
//!
//! Invariant: only a request for a change waits.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::ALLOW;
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, Problem};
use super::body::Bodies;
use super::guard::Guard;
use super::resource::{AdminContext, ChangeRequest, Resource};
use super::resources;
use super::slots::Slot;
use crate::export::Counted;
use crate::node::Node;

/// The resources, and the guard before them.
pub(super) struct Api<N> {
    context: AdminContext<N>,
    guard: Guard,
}

impl<N: Node> Api<N> {
    pub(super) fn new(node: Rc<N>, counted: Counted, guard: Guard) -> Self {
        let context = AdminContext { node, counted, bodies: Bodies::default() };
        Self { context, guard }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>, slot: &Slot) -> Answer {
        let (parts, body) = request.into_parts();
        let answered = match self.guard.check(&parts) {
            Ok(()) => self.resource(ChangeRequest { parts: &parts, body, slot }).await,
            Err(problem) => Err(problem),
        };
        answered.unwrap_or_else(Problem::answer)
    }

    async fn resource(&self, request: ChangeRequest<'_>) -> Result<Answer, Problem> {
        let path = request.parts.uri.path();
        let resource = resources::all().into_iter().find(|it| it.is_at(path));
        let resource: Resource<N> = resource.ok_or_else(|| nothing_at::<N>(path))?;
        let (read, change) = (resource.read, resource.change);
        match (&request.parts.method, read, change) {
            (&Method::GET | &Method::HEAD, Some(read), _) => Ok(read(&self.context)),
            (&Method::POST | &Method::PUT, _, Some(change)) => change(&self.context, request).await,
            _ => Err(not_allowed(resource.methods())),
        }
    }
}

fn nothing_at<N: Node>(path: &str) -> Problem {
    let paths: Vec<_> = resources::all::<N>().iter().map(|it| it.path).collect();
    let detail = format!("there is nothing at {path}; there are {}", paths.join(", "));
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

fn not_allowed(methods: &str) -> Problem {
    let detail = format!("only {methods} can be asked here");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        .header(ALLOW, methods)
}
