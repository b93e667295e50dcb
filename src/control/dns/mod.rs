//! Follows the names of endpoints: asks DNS, and tells the rest of the control thread of each change.
//!
//! A task for each name asks, takes in the answer and waits; [`engine::names`] decides what an answer
//! changes and when to ask again. [`Resolver`] is the way to DNS and to the files of this host.
//! Nothing here knows of workers: `handle` makes facts of the news.
//!
//! Invariant: a version that goes live finds each of its names asked once, or [`FIRST_ANSWER_MAX`]
//! has passed.

mod resolver;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use engine::config::Document;
use engine::names::{Answers, DnsName, Followed, Lookup, NamedPlace, ResolutionCounts};
use tokio::select;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout_at};

use resolver::Resolver;

/// How long a start or a change waits for the first answers. A resolver nearby takes milliseconds,
/// and one that is down should not keep the other upstreams from their requests.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(3);

/// So many addresses of a name the log shows.
const ADDRESSES_LOGGED_MAX: usize = 10;

/// The names that are followed. A handle, to be cloned for each task.
#[derive(Clone)]
pub(crate) struct Dns(Rc<SharedDns>);

struct SharedDns {
    resolver: Resolver,
    followed: RefCell<BTreeMap<DnsName, FollowedName>>,
    /// Names that stand for other places than before.
    news: UnboundedSender<DnsName>,
    /// An answer came, or none in time.
    asked: Notify,
    /// Changes with each question.
    seed: Cell<u64>,
}

/// One name, and the task that asks for it.
struct FollowedName {
    followed: Followed,
    /// It was asked for at least once, with whatever result.
    is_asked: bool,
    /// When the last answer with addresses came.
    answered: Option<Instant>,
    /// The trouble with the last answer.
    trouble: Option<String>,
    /// Makes its task ask at once.
    again: Rc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for FollowedName {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a name stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NameStatus {
    /// The name as in the configuration.
    pub(crate) name: String,
    /// How many places it stands for.
    pub(crate) addresses: usize,
    /// How long ago the last answer with addresses came.
    pub(crate) answered_ago: Option<Duration>,
    /// The trouble with the last answer.
    pub(crate) trouble: Option<String>,
    /// Questions by their result.
    pub(crate) counts: ResolutionCounts,
}

/// Names that stand for other places than before, one after the other.
#[derive(Debug)]
pub(crate) struct News(UnboundedReceiver<DnsName>);

impl News {
    /// The next one; none when nothing is followed any more.
    pub(crate) async fn next(&mut self) -> Option<DnsName> {
        self.0.recv().await
    }
}

/// The names in a configuration.
pub(crate) fn names_of(document: &Document) -> impl Iterator<Item = &DnsName> {
    let upstreams = document.upstreams.objects.iter();
    upstreams.flat_map(|(_, it)| it.endpoints.iter()).filter_map(|it| it.address.name())
}

impl Dns {
    /// Follows no name yet.
    pub(crate) fn new() -> (Self, News) {
        let (news, receiver) = unbounded_channel();
        let names = SharedDns {
            resolver: Resolver::default(),
            followed: RefCell::default(),
            news,
            asked: Notify::new(),
            // The standard library keys its hashes at random.
            seed: Cell::new(RandomState::new().hash_one(0)),
        };
        (Self(Rc::new(names)), News(receiver))
    }

    /// Follows the names of a configuration from now on, beside those before, and asks its resolvers.
    pub(crate) fn follow(&self, document: &Document) {
        let SharedDns { resolver, followed, .. } = &*self.0;
        let servers: Vec<_> = document.runtime.resolvers.iter().map(|it| it.0).collect();
        if resolver.ask_at(servers) {
            // Other resolvers may have other answers.
            followed.borrow().values().for_each(|entry| entry.again.notify_one());
        }
        for name in names_of(document) {
            if followed.borrow().contains_key(name) {
                continue;
            }
            let again = Rc::new(Notify::new());
            let task = spawn_local(self.clone().ask_forever(name.clone(), Rc::clone(&again)));
            let entry = FollowedName {
                followed: Followed::default(),
                is_asked: false,
                answered: None,
                trouble: None,
                again,
                task,
            };
            followed.borrow_mut().insert(name.clone(), entry);
        }
    }

    /// Waits until every name was asked for once, at most for [`FIRST_ANSWER_MAX`].
    pub(crate) async fn first_answers(&self) {
        let deadline = Instant::now() + FIRST_ANSWER_MAX;
        loop {
            // Listens before it looks, so that no answer is missed in between.
            let asked = self.0.asked.notified();
            if self.0.followed.borrow().values().all(|entry| entry.is_asked) {
                return;
            }
            if timeout_at(deadline, asked).await.is_err() {
                break;
            }
        }
        for (name, _) in self.0.followed.borrow().iter().filter(|(_, entry)| !entry.is_asked) {
            let seconds = FIRST_ANSWER_MAX.as_secs();
            tracing::warn!("{name} has no address yet: DNS gave no answer in {seconds} s");
        }
    }

    /// Forgets all names that this configuration, which is live, does not have.
    pub(crate) fn keep(&self, document: &Document) {
        let names: BTreeSet<_> = names_of(document).collect();
        self.0.followed.borrow_mut().retain(|name, _| names.contains(name));
        // A change that was refused may have brought other resolvers.
        self.follow(document);
    }

    /// The places that the names of a configuration stand for now.
    pub(crate) fn answers(&self, document: &Document) -> Answers {
        let places = |name: &DnsName| Some((name.clone(), self.places(name)?));
        names_of(document).filter_map(places).collect()
    }

    /// The places that a name stands for now; none: it is not followed.
    pub(crate) fn places(&self, name: &DnsName) -> Option<Box<[NamedPlace]>> {
        let followed = self.0.followed.borrow();
        followed.get(name).map(|entry| entry.followed.places().into())
    }

    /// How the names stand, in their order.
    pub(crate) fn status(&self, now: Instant) -> Vec<NameStatus> {
        let status = |(name, entry): (&DnsName, &FollowedName)| NameStatus {
            name: name.to_string(),
            addresses: entry.followed.places().len(),
            answered_ago: entry.answered.map(|at| now.saturating_duration_since(at)),
            trouble: entry.trouble.clone(),
            counts: entry.followed.counts(),
        };
        self.0.followed.borrow().iter().map(status).collect()
    }

    async fn ask_forever(self, name: DnsName, again: Rc<Notify>) {
        loop {
            let known = self.places(&name).unwrap_or_default();
            let lookup = self.0.resolver.lookup(&name, &known).await;
            let Some(again_in) = self.take(&name, &lookup) else { return };
            select! {
                () = sleep(again_in) => {}
                () = again.notified() => {}
            }
        }
    }

    /// Takes in an answer. Returns when to ask again; none: the name is not followed any more.
    fn take(&self, name: &DnsName, lookup: &Lookup) -> Option<Duration> {
        let SharedDns { followed, news, asked, seed, .. } = &*self.0;
        seed.set(seed.get().wrapping_add(1));
        let mut followed = followed.borrow_mut();
        let entry = followed.get_mut(name)?;
        let step = entry.followed.take(lookup, seed.get());
        let count = entry.followed.places().len();
        entry.is_asked = true;
        entry.trouble = trouble(lookup);
        match &entry.trouble {
            None => {
                entry.answered = Some(Instant::now());
                if step.changed {
                    tracing::info!("{name} stands for {}", listed(entry.followed.places()));
                } else if step.turned {
                    tracing::info!("{name} is resolved again, to the same addresses");
                }
            }
            // Once: the metrics count the others.
            Some(trouble) if step.turned && count == 0 => {
                tracing::warn!("{name} has no address yet: {trouble}");
            }
            Some(trouble) if step.turned => {
                let noun = if count == 1 { "address stays" } else { "addresses stay" };
                tracing::warn!("{name} cannot be resolved, its {count} {noun}: {trouble}");
            }
            Some(trouble) => tracing::debug!("{name} cannot be resolved: {trouble}"),
        }
        if step.changed {
            // Nobody listens when the process is ending.
            let _ = news.send(name.clone());
        }
        asked.notify_waiters();
        Some(step.again_in.into())
    }
}

/// The trouble with an answer, for people.
fn trouble(lookup: &Lookup) -> Option<String> {
    match lookup {
        Lookup::Found { .. } => None,
        Lookup::NoName => Some("DNS knows no such name".to_owned()),
        Lookup::NoAddress => Some("DNS has no address for it".to_owned()),
        Lookup::Failed(why) => Some(why.clone()),
    }
}

fn listed(places: &[NamedPlace]) -> String {
    let some = places.iter().take(ADDRESSES_LOGGED_MAX).map(|it| it.address.to_string());
    let listed = some.collect::<Vec<_>>().join(", ");
    match places.len().checked_sub(ADDRESSES_LOGGED_MAX) {
        None | Some(0) => listed,
        Some(more) => format!("{listed} and {more} more"),
    }
}
