//! `POST /v1/upstreams/U/endpoints/E`: takes an endpoint out of use, and back.
//!
//! `U` is the name of an upstream and `E` the address of an endpoint, both as in the configuration.
//! They may be percent-encoded.

use engine::address::Address;
use engine::balance::EndpointState;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::answer::{self, Answer, Problem};
use super::super::guard::{JSON, check_content_type};
use super::super::resource::{AdminContext, ChangeRequest, Resource, names_in};
use crate::node::Node;

/// The body of the request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    state: String,
}

/// The answer.
#[derive(Serialize)]
struct EndpointChanged {
    upstream: String,
    endpoint: String,
    state: &'static str,
    /// Cores that had not taken it in by the deadline. They will.
    lagging: Vec<usize>,
}

pub(super) const fn resource<N: Node>() -> Resource<N> {
    Resource {
        path: PATH,
        help: "takes endpoint E of upstream U out of use (`{\"state\": \"drain\"}`) or back \
               (`{\"state\": \"ready\"}`). It gets no new request, its requests finish, its \
               connections close. This lasts for as long as configurations have the endpoint",
        read: None,
        change: Some(|context, request| Box::pin(change(context, request))),
    }
}

const PATH: &str = "/v1/upstreams/U/endpoints/E";

async fn change<N: Node>(
    context: &AdminContext<N>,
    request: ChangeRequest<'_>,
) -> Result<Answer, Problem> {
    let ChangeRequest { parts, body, slot } = request;
    check_content_type(&parts.headers, JSON)?;
    let path = parts.uri.path();
    let (upstream, endpoint) = named(path).ok_or_else(|| unknown(path, "of that name"))?;
    let body = context.bodies.read(body).await?;
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|error| bad_state(&error))?;
    let state = EndpointState::from_word(&wanted.state)
        .ok_or_else(|| bad_state(&format!("\"{}\" is no state", wanted.state)))?;
    let address: Address = endpoint.parse().map_err(|_| unknown(&upstream, &endpoint))?;
    let lagging = slot.busy(context.node.set_endpoint(&upstream, &address, state)).await;
    let lagging = lagging.ok_or_else(|| unknown(&upstream, &endpoint))?;
    let endpoint = address.to_string();
    let changed = EndpointChanged { upstream, endpoint, state: state.word(), lagging };
    Ok(answer::json(StatusCode::OK, &changed))
}

/// The upstream and the endpoint of this path, decoded; `None` where they are malformed.
fn named(path: &str) -> Option<(String, String)> {
    match *names_in(PATH, path)? {
        [upstream, endpoint] => Some((decoded(upstream)?, decoded(endpoint)?)),
        _ => None,
    }
}

fn bad_state(why: &impl ToString) -> Problem {
    let words = [EndpointState::Ready, EndpointState::Draining].map(EndpointState::word);
    let detail = format!(
        "{}; the body is {{\"state\": \"{}\"}} or {{\"state\": \"{}\"}}",
        why.to_string(),
        words[0],
        words[1]
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "endpoint_state", detail)
}

fn unknown(upstream: &str, endpoint: &str) -> Problem {
    let detail = format!("the live configuration has no endpoint {endpoint} in {upstream}");
    Problem::new(StatusCode::NOT_FOUND, "unknown_endpoint", detail)
}

/// The text without its percent-encoding; `None` where that is malformed.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_and_endpoint_stand_in_the_path() {
        let named =
            |path: &str| named(path).map(|(upstream, endpoint)| format!("{upstream} {endpoint}"));
        let ip = named("/v1/upstreams/users/endpoints/10.0.0.1:9000");
        assert_eq!(ip.as_deref(), Some("users 10.0.0.1:9000"));
        let encoded = named("/v1/upstreams/users/endpoints/%5B::1%5D:9000");
        assert_eq!(encoded.as_deref(), Some("users [::1]:9000"));
        for unix in ["unix:/run/a.sock", "unix%3A%2Frun%2fa.sock"] {
            let path = format!("/v1/upstreams/a/endpoints/{unix}");
            assert_eq!(named(&path).as_deref(), Some("a unix:/run/a.sock"));
        }
        for path in
            ["/v1/upstreams/users", "/v1/upstreams/a/endpoints/%2", "/v1/upstreams/a/endpoints/%zz"]
        {
            assert_eq!(named(path), None, "{path}");
        }
    }
}
