//! The places that names stand for now.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::DnsName;

/// A place that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamedPlace {
    /// Where to connect to.
    pub address: SocketAddr,
    /// Its share, relative to the other places of the name; at least 1.
    pub weight: u32,
}

/// The places of the names of one version. A name without an answer stands for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers(BTreeMap<DnsName, Box<[NamedPlace]>>);

impl Answers {
    /// The places of a name.
    #[must_use]
    pub fn places(&self, name: &DnsName) -> &[NamedPlace] {
        self.0.get(name).map_or(&[], |places| places)
    }

    /// Takes in an answer. Returns whether it says anything new.
    pub fn learn(&mut self, name: &DnsName, places: &[NamedPlace]) -> bool {
        if self.places(name) == places {
            return false;
        }
        self.0.insert(name.clone(), places.into());
        true
    }
}

impl FromIterator<(DnsName, Box<[NamedPlace]>)> for Answers {
    fn from_iter<T: IntoIterator<Item = (DnsName, Box<[NamedPlace]>)>>(answers: T) -> Self {
        Self(answers.into_iter().collect())
    }
}
