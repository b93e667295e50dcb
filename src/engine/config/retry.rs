//! `retry` of an upstream: when a request goes to another try, and how often.

use std::borrow::Cow;

use crate::keys::{
    ByteSize, Fraction, ItemKind, KeyRule, LONGEST, Limit, Mistake, SHORTEST, Shape, StatusRange,
    Value, Words, Written, expected_word, name_of, parse_word, section, word, words,
};
use crate::time::Micros;

section! {
    /// When a request goes to another try, and how often. A try that failed goes to another endpoint
    /// where one is left. Nothing is sent again once the client has a part of the response.
    #[derive(Eq)]
    pub settings Retry {
        /// Tries of a request, the first one included. "all": one at each endpoint, until one of them
        /// has taken the request; a request that an endpoint may have seen is sent twice at most. With
        /// a number, tries go on after the last endpoint, and after a `back_off` begin again.
        tries_max: TriesMax => KeyRule::default(TriesMax::All);
        /// The causes of another try. "connect_failure": there was no connection, or it ended before
        /// the endpoint took a byte. "stale_connection": a pooled connection turned out dead.
        /// "refused_stream": the endpoint says that it has not looked at the request. "reset": the
        /// connection ended without an answer. "timeout": `timeouts.first_byte` or `per_try_timeout`
        /// has passed. A status such as "502" or "500-599": the endpoint answered with it; when no
        /// further try may follow, the client gets that answer.
        on: Vec<RetryOn> => KeyRule::default(RetryOn::unseen());
        /// The methods of requests that are sent again although an endpoint may have acted on them.
        /// "idempotent": GET, HEAD, OPTIONS, PUT and DELETE. "any": all of them, so that a POST may be
        /// executed twice.
        methods: RetryMethods => KeyRule::default(RetryMethods::Idempotent);
        /// Retries by "reset", "timeout" and status, as a share of the requests of the last 10 s, on
        /// each core. 3 in 10 s are always allowed. "off": no such bound.
        budget: Limit<Fraction> => KeyRule::default(Limit::at(Fraction::percent(20)))
            .within_or_off(Fraction::percent(1)..=Fraction::percent(100));
        /// For one try: from the choice of its endpoint to the head of the response. Then 504, or
        /// another try where `on` has "timeout".
        per_try_timeout: Limit<Micros> => KeyRule::default(Limit::OFF)
            .within_or_off(SHORTEST..=LONGEST);
        /// Before a try at an endpoint that the request was tried at already, where `tries_max` is a
        /// number: doubled each time up to 1 s, and half of it random.
        back_off: Micros => KeyRule::default(Micros::millis(25)).within(SHORTEST..=LONGEST);
        /// A request with a body longer than this is not sent again once its body has begun to go out.
        /// A copy of each body up to this length is kept until the response is here, where `on` has
        /// "reset", "timeout" or a status.
        body_bytes_max: ByteSize => KeyRule::default(ByteSize::kib(64))
            .within(ByteSize(0)..=ByteSize::mib(1));
    }
}

/// How many tries a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriesMax {
    /// One at each endpoint.
    All,
    /// So many.
    Count(u32),
}

/// More tries than this have no chance that these did not have.
const TRIES_MAX: u32 = 100;
/// How [`TriesMax::All`] is written.
const ALL: &str = "all";

impl Value for TriesMax {
    fn expected() -> Cow<'static, str> {
        format!("\"{ALL}\", or a number from 1 to {TRIES_MAX}").into()
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(Shape::Words(vec![ALL])), Box::new(Shape::Integer))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        if kind.text().is_some_and(|text| text.value == ALL) {
            return Ok(Self::All);
        }
        let count = u32::parse(kind)?;
        if count == 0 {
            return Err(Mistake::with_cure("0 is no try", "write 1 for no retry"));
        }
        let known = (1..=TRIES_MAX).contains(&count);
        known
            .then_some(Self::Count(count))
            .ok_or_else(|| Mistake::value(format!("{count} is too many")))
    }

    fn write(&self) -> Written {
        match self {
            Self::All => Written::text(ALL),
            Self::Count(count) => count.write(),
        }
    }
}

words! {
    /// The methods of requests that may be sent again although an endpoint may have acted on them.
    pub enum RetryMethods {
        /// Those with which two requests have the effect of one.
        #[default]
        Idempotent = "idempotent",
        /// All.
        Any = "any",
    }
}

words! {
    /// A cause of another try that has a word.
    pub enum RetryWord {
        /// There was no connection, or it ended before the endpoint took a byte.
        #[default]
        ConnectFailure = "connect_failure",
        /// The endpoint says that it has not looked at the request.
        RefusedStream = "refused_stream",
        /// A pooled connection turned out dead.
        StaleConnection = "stale_connection",
        /// The connection ended without an answer.
        Reset = "reset",
        /// The endpoint did not answer in time.
        Timeout = "timeout",
    }
}

/// A cause of another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// One that has a word.
    Word(RetryWord),
    /// The endpoint answered with one of these statuses.
    Status(StatusRange),
}

impl RetryOn {
    /// The causes without which a request that nobody took would fail.
    fn unseen() -> Vec<Self> {
        use RetryWord::{ConnectFailure, RefusedStream, StaleConnection};
        [ConnectFailure, RefusedStream, StaleConnection].map(Self::Word).into()
    }
}

impl Value for RetryOn {
    fn expected() -> Cow<'static, str> {
        format!("{}, or a status such as \"502\" or \"500-599\"", expected_word::<RetryWord>())
            .into()
    }

    fn shape() -> Shape {
        let words = RetryWord::WORDS.iter().map(|(word, _)| *word).collect();
        Shape::Either(Box::new(Shape::Words(words)), Box::new(StatusRange::shape()))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let Some(text) = kind.text() else { return StatusRange::parse(kind).map(Self::Status) };
        if let Some(word) = word(&text.value) {
            return Ok(Self::Word(word));
        }
        // A text that begins like a status is meant as one.
        if text.value.starts_with(|letter: char| letter.is_ascii_digit()) {
            return StatusRange::parse(kind).map(Self::Status);
        }
        parse_word(kind).map(Self::Word)
    }

    fn write(&self) -> Written {
        match self {
            Self::Word(word) => Written::text(name_of(*word)),
            Self::Status(range) => range.write(),
        }
    }
}
