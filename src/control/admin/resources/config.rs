//! `/v1/config`: the live configuration, and changes of it.

use engine::config::{DIAGNOSTICS_SHOWN_MAX, Diagnostic};
use hyper::header::{ETAG, IF_MATCH, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::super::answer::{self, Answer, Body, Problem};
use super::super::guard::{TOML, check_content_type};
use super::super::resource::{AdminContext, ChangeRequest, Resource};
use crate::node::{Applied, Change, Node, Refused};

pub(super) const fn resource<N: Node>() -> Resource<N> {
    Resource {
        path: "/v1/config",
        help: "the configuration in effect, every key, as TOML; secrets are masked. The `ETag` is \
               its version",
        read: Some(read),
        change: Some(|context, request| Box::pin(change(context, request))),
    }
}

fn read<N: Node>(context: &AdminContext<N>) -> Answer {
    let body = Body::Whole(Some(context.node.config().into()));
    let answer = answer::answer(StatusCode::OK, TOML, body);
    answer::with(answer, ETAG, &tag(context.node.status().version))
}

/// The result of a change.
#[derive(Serialize)]
struct Changed {
    version: u64,
    unchanged: bool,
    dry_run: bool,
    lagging: Vec<usize>,
    warnings: Vec<Value>,
    micros: u64,
}

/// `POST /v1/config`: the body is the new configuration; with `?reload=1` the file is.
async fn change<N: Node>(
    context: &AdminContext<N>,
    request: ChangeRequest<'_>,
) -> Result<Answer, Problem> {
    let ChangeRequest { parts, body, slot } = request;
    let Query { dry_run, reload } = query(parts.uri.query().unwrap_or(""))?;
    let if_match = if_match(&parts.headers)?;
    if !reload {
        check_content_type(&parts.headers, TOML)?;
    }
    let body = context.bodies.read(body).await?;
    let text = match (body.is_empty(), reload) {
        (true, true) => None,
        (false, false) => Some(text(body)?),
        (true, false) => {
            let detail = "there is no configuration in the body; to read the file again, ask \
                    for /v1/config?reload=1";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "empty_body", detail));
        }
        (false, true) => {
            let detail = "with reload=1 the file is read and the body must be empty";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "body_and_reload", detail));
        }
    };
    let change = Change { text, dry_run, if_match };
    match slot.busy(context.node.apply(change)).await {
        Ok(applied) => Ok(changed(applied, dry_run)),
        Err(refused) => Err(problem(refused)),
    }
}

fn changed(applied: Applied, dry_run: bool) -> Answer {
    let Applied { version, unchanged, lagging, warnings, micros } = applied;
    let warnings = shown(&warnings);
    let changed = Changed { version, unchanged, dry_run, lagging, warnings, micros };
    answer::with(answer::json(StatusCode::OK, &changed), ETAG, &tag(version))
}

fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Diagnostics(diagnostics) => {
            let detail = "the configuration has mistakes; the one that was live stays live";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_config", detail)
                .member("diagnostics", shown(&diagnostics))
                .member("diagnostics_total", diagnostics.len())
        }
        Refused::Conflict { version } => {
            let detail = format!("version {version} is live, and the change is for another one");
            Problem::new(StatusCode::PRECONDITION_FAILED, "conflict", detail)
                .member("version", version)
                .header(ETAG, tag(version))
        }
        Refused::Busy => {
            let detail = "too many changes wait already; try again";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).header(RETRY_AFTER, "1")
        }
        Refused::Cannot(detail) => Problem::new(StatusCode::CONFLICT, "cannot_apply", detail),
    }
}

/// The first of them. Behind a text that is no configuration at all can be very many.
fn shown(diagnostics: &[Diagnostic]) -> Vec<Value> {
    diagnostics.iter().take(DIAGNOSTICS_SHOWN_MAX).map(Diagnostic::to_json).collect()
}

fn text(body: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(body).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let detail = format!("the configuration is not UTF-8: see byte {at}");
        Problem::new(StatusCode::BAD_REQUEST, "not_utf8", detail)
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Query {
    dry_run: bool,
    reload: bool,
}

fn query(text: &str) -> Result<Query, Problem> {
    let mut query = Query::default();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, "1"));
        let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "query", detail);
        let flag = match name {
            "dry_run" => &mut query.dry_run,
            "reload" => &mut query.reload,
            _ => return Err(bad(format!("\"{name}\" is not known; there are dry_run and reload"))),
        };
        *flag = match value {
            "1" | "true" => true,
            "0" | "false" => false,
            _ => return Err(bad(format!("{name} is 1 or 0, not \"{value}\""))),
        };
    }
    Ok(query)
}

/// The version that a change is for, of `If-Match: "7"`.
fn if_match(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut sent = headers.get_all(IF_MATCH).iter();
    let (first, more) = (sent.next(), sent.next());
    let Some(first) = first else { return Ok(None) };
    let text = first.to_str().unwrap_or_default().trim();
    let version = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match version.and_then(|it| it.parse().ok()) {
        Some(version) if more.is_none() => Ok(Some(version)),
        // Some version is live always.
        None if text == "*" && more.is_none() => Ok(None),
        _ => {
            let detail = "If-Match is the ETag of /v1/config: one version in quotes, such as \"7\"";
            Err(Problem::new(StatusCode::BAD_REQUEST, "if_match", detail))
        }
    }
}

fn tag(version: u64) -> String {
    format!("\"{version}\"")
}
