//! Reading the body of a request, within bounds of size, time and memory.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use hyper::header::RETRY_AFTER;
use tokio::time::timeout;

use super::answer::Problem;

/// Bytes of a configuration, as in a file.
const BODY_BYTES_MAX: usize = engine::config::SOURCE_BYTES_MAX;

/// Bytes of all bodies that are being read: some large ones at once.
const BODIES_BYTES_MAX: usize = 4 * BODY_BYTES_MAX;

/// From the head to the last byte.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The bytes of all bodies at this moment.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    bytes: Cell<usize>,
}

impl Bodies {
    /// Reads a body.
    pub(super) async fn read(&self, body: Incoming) -> Result<Vec<u8>, Problem> {
        timeout(BODY_TIMEOUT, self.collect(body)).await.unwrap_or_else(|_| {
            let detail = format!("the body did not come within {} s", BODY_TIMEOUT.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        })
    }

    async fn collect(&self, mut body: Incoming) -> Result<Vec<u8>, Problem> {
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(too_large());
        }
        let mut held = Held { bytes: Vec::new(), counted: 0, bodies: self };
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|error| {
                let detail = format!("the body cannot be read: {error}");
                Problem::new(StatusCode::BAD_REQUEST, "body", detail)
            })?;
            if let Ok(bytes) = frame.into_data() {
                held.add(&bytes)?;
            }
        }
        Ok(std::mem::take(&mut held.bytes))
    }
}

/// The part of a body that is here; it counts until it is dropped or complete.
struct Held<'a> {
    bytes: Vec<u8>,
    counted: usize,
    bodies: &'a Bodies,
}

impl Held<'_> {
    fn add(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        if self.bytes.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(too_large());
        }
        let all = self.bodies.bytes.get() + bytes.len();
        if all > BODIES_BYTES_MAX {
            let detail = "too many large bodies are being read; try again";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
                .header(RETRY_AFTER, "1"));
        }
        self.bodies.bytes.set(all);
        self.counted += bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.bodies.bytes.update(|all| all.saturating_sub(self.counted));
    }
}

fn too_large() -> Problem {
    let detail = format!("a configuration has at most {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
