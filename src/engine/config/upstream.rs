//! `[upstreams.NAME]`: a named group of endpoints, their pool and their timeouts.

use std::borrow::Cow;

use super::collection::Spanned;
use super::section::{Rule, Value, section};
use super::shape::Shape;
use super::tree::{Kind, Node};
use super::value::{LONGEST, Limit, SHORTEST};
use super::walk::Walk;
use super::written::Written;
use crate::address::Address;
use crate::time::Micros;

section! {
    /// A named group of endpoints that requests are balanced over.
    pub Upstream {
        /// Its endpoints: "IP:port", "unix:/path", or a table with `address` and `weight`.
        endpoints: Spanned<Vec<Spanned<Endpoint>>>
            => Rule::required("[\"127.0.0.1:9000\"]");
        /// How many connections there may be, and how long they may stay open unused.
        pool: PoolLimits => Rule::settings();
        /// How long its endpoints may keep us waiting.
        timeouts: UpstreamTimeouts => Rule::settings();
    }
}

section! {
    /// How many connections there may be, and how long they may stay open unused.
    #[derive(Copy, Eq, Hash)]
    pub settings PoolLimits {
        /// Connections at once, per node and endpoint, divided among the cores. A request for which
        /// neither this endpoint nor another has one is answered 503.
        connections_max: Limit<u32> => Rule::default(Limit::OFF).within_or_off(1..=10_000_000);
        /// Idle connections, per node and endpoint, divided among the cores.
        idle_max: u32 => Rule::default(1024).within(0..=1_000_000);
        /// How long one may stay idle. Keep it below the endpoint's own keep-alive timeout.
        idle_timeout: Micros => Rule::default(Micros::secs(55)).within(SHORTEST..=LONGEST);
    }
}

section! {
    /// How long an upstream's endpoints may keep us waiting.
    #[derive(Copy, Eq, Hash)]
    pub settings UpstreamTimeouts {
        /// For a connection to be made. Then another endpoint is tried, or 504.
        connect: Micros => Rule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
        /// From the end of the request to the first byte of the response. Then 504.
        first_byte: Limit<Micros> => Rule::default(Limit::at(Micros::secs(30)))
            .within_or_off(SHORTEST..=LONGEST);
        /// Between two pieces of a response. Then the client's connection is closed.
        between_bytes: Limit<Micros> => Rule::default(Limit::at(Micros::secs(30)))
            .within_or_off(SHORTEST..=LONGEST);
    }
}

section! {
    /// An endpoint written as a table.
    WeightedEndpoint {
        /// Where it listens: IP address and port, or "unix:/path".
        address: Address => Rule::required("\"127.0.0.1:9000\"");
        /// Its share of the requests, relative to the other endpoints.
        weight: u32 => Rule::default(1).within(1..=WEIGHT_MAX);
    }
}

/// Larger ratios are not load balancing any more.
const WEIGHT_MAX: u32 = 1000;

/// One address of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Its share of the requests, relative to the other endpoints.
    pub weight: u32,
}

impl Value for Endpoint {
    fn expected() -> Cow<'static, str> {
        "\"IP:port\", \"unix:/path\" or { address = \"IP:port\", weight = 2 }".into()
    }

    fn shape() -> Shape {
        let (text, table) = (Address::shape(), WeightedEndpoint::shape());
        Shape::Either(Box::new(text), Box::new(table))
    }

    fn read<'n>(node: &'n Node<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        let WeightedEndpoint { address, weight } = match &node.kind {
            Kind::Text(_) => WeightedEndpoint { address: Value::read(node, walk)?, weight: 1 },
            Kind::Table(_) => WeightedEndpoint::read(node, walk)?,
            _ => return walk.wrong_kind(node),
        };
        if address.ip().is_some_and(|it| it.port() == 0) {
            return walk.bad_value(node, "port 0 is no place to connect to".to_owned(), None);
        }
        Some(Self { address, weight })
    }

    fn write(&self) -> Written {
        if self.weight == 1 {
            return self.address.write();
        }
        WeightedEndpoint { address: self.address.clone(), weight: self.weight }.write()
    }
}
