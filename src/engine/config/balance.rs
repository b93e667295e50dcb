//! `balance` of an upstream: how an endpoint is chosen for a request.

use std::borrow::Cow;

use proto::head::is_token;

use crate::balance::Way;
use crate::keys::{
    Item, ItemKind, KeyRule, Mistake, SectionValue, Shape, Value, Walk, Written, name_of,
    parse_word, section, words,
};
use crate::request_key::RequestKey;

/// How an endpoint is chosen for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Balance {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest requests in flight for its weight.
    LeastRequests,
    /// The better of two that are drawn by weight.
    P2cEwma,
    /// Drawn by weight.
    Random,
    /// By a hash of this part of the request.
    Hash(RequestKey),
}

impl Balance {
    /// How the balancer chooses.
    #[must_use]
    pub const fn way(&self) -> Way {
        match self {
            Self::RoundRobin => Way::RoundRobin,
            Self::LeastRequests => Way::LeastRequests,
            Self::P2cEwma => Way::P2cEwma,
            Self::Random => Way::Random,
            Self::Hash(_) => Way::Hash,
        }
    }
}

/// The ways that need nothing but their name.
#[derive(Clone, Copy, PartialEq)]
enum Plain {
    RoundRobin,
    LeastRequests,
    P2cEwma,
    Random,
}

words! {
    Plain {
        RoundRobin = "round_robin",
        LeastRequests = "least_requests",
        P2cEwma = "p2c_ewma",
        Random = "random",
    }
}

section! {
    /// A hash of a part of the request chooses the endpoint: requests with the same value go to the
    /// same endpoint, on all cores and nodes. When an endpoint comes or goes, only its own share of
    /// the values moves. An endpoint that has more than 1.25 times its share of the requests in
    /// flight, and more than 8 of them on a core, passes further ones on. A request without the part
    /// goes to the endpoint whose turn it is.
    #[derive(Eq)]
    HashBalance {
        /// The part: "header:NAME", "cookie:NAME", "query:NAME", "path" (without the query) or
        /// "client_ip".
        hash: RequestKey => KeyRule::required("\"header:x-user\"");
    }
}

impl Value for Balance {
    fn expected() -> Cow<'static, str> {
        format!("{}, or a table such as {{ hash = \"header:x-user\" }}", Plain::expected()).into()
    }

    fn shape() -> Shape {
        let table = Shape::Section(HashBalance::section());
        Shape::Either(Box::new(Plain::shape()), Box::new(table))
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if item.is_table() {
            return HashBalance::read(item, walk).map(|it| Self::Hash(it.hash));
        }
        if item.is_secret() {
            walk.keep_secret();
        }
        match parse_word(&item.kind) {
            Ok(Plain::RoundRobin) => Some(Self::RoundRobin),
            Ok(Plain::LeastRequests) => Some(Self::LeastRequests),
            Ok(Plain::P2cEwma) => Some(Self::P2cEwma),
            Ok(Plain::Random) => Some(Self::Random),
            Err(mistake) => {
                walk.mistake(item, of_others(&item.kind, mistake), &Self::expected());
                None
            }
        }
    }

    fn write(&self) -> Written {
        let word = match self {
            Self::RoundRobin => Plain::RoundRobin,
            Self::LeastRequests => Plain::LeastRequests,
            Self::P2cEwma => Plain::P2cEwma,
            Self::Random => Plain::Random,
            Self::Hash(key) => return HashBalance { hash: key.clone() }.write(),
        };
        Written::text(name_of(word))
    }
}

/// The cure for words that other gateways have.
fn of_others(kind: &ItemKind<'_>, mistake: Mistake) -> Mistake {
    let Some(text) = kind.text() else { return mistake };
    let cure = match &*text.value {
        "least_conn" | "leastconn" | "least_connections" | "least_request" => "\"least_requests\"",
        "roundrobin" | "rr" | "wrr" | "weighted_round_robin" | "static-rr" => "\"round_robin\"",
        "p2c" | "ewma" | "peak_ewma" | "least_time" | "latency" => "\"p2c_ewma\"",
        "ip_hash" | "source" | "source_ip" | "client_ip" => "{ hash = \"client_ip\" }",
        "uri" | "uri_hash" | "path" => "{ hash = \"path\" }",
        "hash" | "ring_hash" | "maglev" | "consistent_hash" => "{ hash = \"header:x-user\" }",
        _ => return mistake,
    };
    let what = format!("\"{}\" is no way to balance", text.value);
    Mistake::with_cure(what, format!("write {cure}"))
}

impl Value for RequestKey {
    fn expected() -> Cow<'static, str> {
        "\"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"path\" or \"client_ip\"".into()
    }

    fn shape() -> Shape {
        let pattern = Some("^(path|client_ip|(header|cookie|query):.+)$");
        Shape::Text { noun: "part of a request", pattern }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = &*kind.text().ok_or(Mistake::KIND)?.value;
        let mistake = || Mistake::value(format!("\"{text}\" is no part of a request"));
        let token = |name: &str| -> Result<Box<str>, Mistake> {
            let what = || Mistake::value(format!("\"{name}\" is no name of a header or a cookie"));
            if is_token(name.as_bytes()) { Ok(name.into()) } else { Err(what()) }
        };
        match (text, text.split_once(':')) {
            ("path", _) => Ok(Self::Path),
            ("client_ip", _) => Ok(Self::ClientIp),
            // Case does not matter in the name of a header.
            (_, Some(("header", name))) => Ok(Self::Header(token(&name.to_ascii_lowercase())?)),
            (_, Some(("cookie", name))) => Ok(Self::Cookie(token(name)?)),
            (_, Some(("query", name))) if !name.is_empty() => Ok(Self::Query(name.into())),
            _ => Err(mistake()),
        }
    }

    fn write(&self) -> Written {
        Written::text(match self {
            Self::Header(name) => format!("header:{name}"),
            Self::Cookie(name) => format!("cookie:{name}"),
            Self::Query(name) => format!("query:{name}"),
            Self::Path => "path".to_owned(),
            Self::ClientIp => "client_ip".to_owned(),
        })
    }
}
