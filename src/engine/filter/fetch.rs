//! Requests that a filter has the worker send: to a service that decides, or to one that gets a copy.

use proto::head::{RequestHead, ResponseHead};

use crate::time::Micros;

/// A piece of work that a filter waits for.
#[derive(Debug)]
pub enum Fetch {
    /// A request to an upstream.
    Http(Box<HttpFetch>),
}

/// A request of a filter.
#[derive(Debug)]
pub struct HttpFetch {
    /// The name of the upstream that it goes to.
    pub upstream: Box<str>,
    /// Its head.
    pub head: RequestHead,
    /// Its body.
    pub body: Vec<u8>,
    /// For all of it, to the last byte of the response.
    pub timeout: Micros,
    /// The longest body of a response that is of use, in bytes. `None`: the body is read and dropped.
    pub response_bytes_max: Option<usize>,
}

/// The outcome of a [`Fetch`]; an error where there was no complete response in time.
pub type FetchResult = Result<Box<Fetched>, FetchFailed>;

/// A complete response.
#[derive(Debug)]
pub struct Fetched {
    /// Its head, without the fields that end at this hop.
    pub head: ResponseHead,
    /// Its body.
    pub body: Vec<u8>,
}

/// There was no complete response in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchFailed;
