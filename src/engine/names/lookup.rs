//! The result of asking for a name once, made of the answers to several questions.

use super::NamedPlace;
use crate::time::Micros;

/// The result of asking for a name once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It stands for these places.
    Found {
        /// The places, at least one.
        places: Vec<NamedPlace>,
        /// For how long the answer holds, as DNS says.
        ttl: Micros,
    },
    /// DNS knows no such name.
    NoName,
    /// DNS knows the name, and no address for it.
    NoAddress,
    /// DNS gave no answer, for this reason.
    Failed(String),
}

/// A record of a service (RFC 2782), and the places of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTarget {
    /// Targets with the smallest number are used.
    pub priority: u16,
    /// Its share among the targets of this priority.
    pub weight: u16,
    /// The result of asking for the target.
    pub lookup: Lookup,
}

impl Lookup {
    /// The addresses of a host: `ipv4` and `ipv6` are the answers to the two questions, `known` the
    /// places before.
    ///
    /// Resolvers that answer only one of the two are common. So one answer is enough, and the other
    /// addresses stay as they were.
    #[must_use]
    pub fn of_host(ipv4: Self, ipv6: Self, known: &[NamedPlace]) -> Self {
        match (ipv4, ipv6) {
            (Self::Found { mut places, ttl }, Self::Found { places: more, ttl: other }) => {
                places.extend(more);
                Self::Found { places, ttl: ttl.min(other) }
            }
            (Self::Found { mut places, ttl }, Self::Failed(_)) => {
                places.extend(known.iter().filter(|it| it.address.is_ipv6()));
                Self::Found { places, ttl }
            }
            (Self::Failed(_), Self::Found { mut places, ttl }) => {
                places.extend(known.iter().filter(|it| it.address.is_ipv4()));
                Self::Found { places, ttl }
            }
            (found @ Self::Found { .. }, _) | (_, found @ Self::Found { .. }) => found,
            (failed @ Self::Failed(_), _) | (_, failed @ Self::Failed(_)) => failed,
            (Self::NoName, Self::NoName) => Self::NoName,
            _ => Self::NoAddress,
        }
    }

    /// The places of a service: those of its targets with the smallest priority of which there are
    /// any. `ttl` is that of the records.
    #[must_use]
    pub fn of_service(targets: Vec<ServiceTarget>, ttl: Micros, known: &[NamedPlace]) -> Self {
        let mut found: Vec<(u16, NamedPlace)> = Vec::new();
        let mut shortest = ttl;
        let mut failure = None;
        for ServiceTarget { priority, weight, lookup } in targets {
            match lookup {
                Self::Found { places, ttl } => {
                    shortest = shortest.min(ttl);
                    // A weight of 0 asks for a very small share. There is none smaller than 1.
                    let weight = u32::from(weight).max(1);
                    found.extend(
                        places
                            .into_iter()
                            .map(|it| (priority, NamedPlace { address: it.address, weight })),
                    );
                }
                Self::Failed(why) => failure = Some(why),
                Self::NoName | Self::NoAddress => {}
            }
        }
        // Without the answer for one target we do not know which places are gone.
        if let Some(why) = failure.filter(|_| !known.is_empty() || found.is_empty()) {
            return Self::Failed(why);
        }
        let Some(first) = found.iter().map(|(priority, _)| *priority).min() else {
            return Self::NoAddress;
        };
        let places = found.into_iter().filter(|(priority, _)| *priority == first);
        Self::Found { places: places.map(|(_, place)| place).collect(), ttl: shortest }
    }

    /// The word for the result in metrics and in the admin API.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Found { .. } => "ok",
            Self::NoName => "no_name",
            Self::NoAddress => "no_address",
            Self::Failed(_) => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Micros = Micros::secs(60);

    fn places(texts: &[&str]) -> Vec<NamedPlace> {
        texts.iter().map(|it| NamedPlace { address: it.parse().unwrap(), weight: 1 }).collect()
    }

    fn found(texts: &[&str], seconds: u64) -> Lookup {
        Lookup::Found { places: places(texts), ttl: Micros::secs(seconds) }
    }

    fn failed() -> Lookup {
        Lookup::Failed("timeout".to_owned())
    }

    #[test]
    fn a_host_has_the_addresses_of_both_families() {
        let both = Lookup::of_host(found(&["10.0.0.1:1"], 30), found(&["[::1]:1"], 20), &[]);
        assert_eq!(both, found(&["10.0.0.1:1", "[::1]:1"], 20));
        let one = Lookup::of_host(found(&["10.0.0.1:1"], 30), Lookup::NoAddress, &[]);
        assert_eq!(one, found(&["10.0.0.1:1"], 30));
        assert_eq!(Lookup::of_host(Lookup::NoName, Lookup::NoName, &[]), Lookup::NoName);
        assert_eq!(Lookup::of_host(Lookup::NoAddress, Lookup::NoName, &[]), Lookup::NoAddress);
    }

    #[test]
    fn addresses_stay_when_the_question_for_their_family_fails() {
        let known = places(&["10.0.0.9:1", "[::9]:1"]);
        let ipv4 = Lookup::of_host(found(&["10.0.0.1:1"], 30), failed(), &known);
        assert_eq!(ipv4, found(&["10.0.0.1:1", "[::9]:1"], 30));
        let ipv6 = Lookup::of_host(failed(), found(&["[::1]:1"], 30), &known);
        assert_eq!(ipv6, found(&["[::1]:1", "10.0.0.9:1"], 30));
        assert_eq!(Lookup::of_host(failed(), Lookup::NoAddress, &known), failed());
        assert_eq!(Lookup::of_host(Lookup::NoName, failed(), &[]), failed());
    }

    fn target(priority: u16, weight: u16, lookup: Lookup) -> ServiceTarget {
        ServiceTarget { priority, weight, lookup }
    }

    #[test]
    fn a_service_stands_for_the_targets_of_the_first_priority_that_has_addresses() {
        let targets = vec![
            target(20, 1, found(&["10.0.0.3:3"], 5)),
            target(10, 7, found(&["10.0.0.1:1", "[::1]:1"], 30)),
            target(10, 0, found(&["10.0.0.2:2"], 90)),
            target(1, 9, Lookup::NoName),
        ];
        let Lookup::Found { places, ttl } = Lookup::of_service(targets, TTL, &[]) else { panic!() };
        let shares: Vec<_> = places.iter().map(|it| (it.address.port(), it.weight)).collect();
        assert_eq!(shares, [(1, 7), (1, 7), (2, 1)]);
        assert_eq!(ttl, Micros::secs(5));
        assert_eq!(Lookup::of_service(Vec::new(), TTL, &[]), Lookup::NoAddress);
    }

    #[test]
    fn a_service_of_which_a_target_has_no_answer_stays_as_it_was() {
        let targets = || vec![target(1, 1, found(&["10.0.0.1:1"], 30)), target(1, 1, failed())];
        let known = places(&["10.0.0.9:1"]);
        assert_eq!(Lookup::of_service(targets(), TTL, &known), failed());
        assert_eq!(Lookup::of_service(targets(), TTL, &[]), found(&["10.0.0.1:1"], 30));
        assert_eq!(Lookup::of_service(vec![target(1, 1, failed())], TTL, &[]), failed());
    }
}
