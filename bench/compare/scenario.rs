//! The list of scenarios: the requests, the number of connections, the pace.

/// One row group of the comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) connections: u32,
    pub(super) pace: Pace,
    /// Measured when no scenario is named.
    pub(super) by_default: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// `wrk`: each connection asks as soon as it was answered. Costs are measured at full load.
    Full(Script),
    /// `h2load`: a fixed rate, as percent of the peak of the better peer (`PEAK`).
    Percent(u32),
}

/// A file of `bench/wrk`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    Get,
    Post,
    Close,
}

impl Scenario {
    /// The scenarios of these names, or the default ones; in the order of the list.
    pub(super) fn named(names: &[String]) -> Vec<&'static Self> {
        ALL.iter()
            .filter(|scenario| {
                if names.is_empty() {
                    scenario.by_default
                } else {
                    names.iter().any(|name| name == scenario.name)
                }
            })
            .collect()
    }

    /// The scenario whose throughput the fixed rates are fractions of.
    pub(super) fn peak() -> &'static Self {
        &PEAK
    }

    /// How long it runs when `asked` seconds are wished for. Opening thousands of connections can
    /// take `wrk` a second of a busy CPU, and that second is a part of its run.
    pub(super) fn seconds(&self, asked: u32) -> u32 {
        asked.max(self.connections / 1000)
    }

    pub(super) fn is_paced(&self) -> bool {
        matches!(self.pace, Pace::Percent(_))
    }

    /// The floor keeps one endpoint connection for each client connection and passes
    /// `Connection: close` on, so it has no cheap way to serve one request per connection.
    pub(super) fn suits_floor(&self) -> bool {
        self.pace != Pace::Full(Script::Close)
    }
}

impl Script {
    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::Get => "get.lua",
            Self::Post => "post.lua",
            Self::Close => "close.lua",
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Get => include_str!("../wrk/get.lua"),
            Self::Post => include_str!("../wrk/post.lua"),
            Self::Close => include_str!("../wrk/close.lua"),
        }
    }
}

const fn full(
    name: &'static str,
    path: &'static str,
    connections: u32,
    script: Script,
    by_default: bool,
) -> Scenario {
    Scenario { name, path, connections, pace: Pace::Full(script), by_default }
}

const fn paced(name: &'static str, percent: u32) -> Scenario {
    Scenario { name, path: "/1k", connections: 64, pace: Pace::Percent(percent), by_default: true }
}

const PEAK: Scenario = full("get-1k-64", "/1k", 64, Script::Get, true);

static ALL: [Scenario; NAMES.len()] = [
    PEAK,
    full("get-1k-512", "/1k", 512, Script::Get, true),
    full("get-64k", "/64k", 64, Script::Get, true),
    full("post-1k", "/", 64, Script::Post, true),
    full("close-1k", "/1k", 64, Script::Close, true),
    paced("rate-25", 25),
    paced("rate-50", 50),
    full("get-1k-1", "/1k", 1, Script::Get, false),
    full("get-1k-8", "/1k", 8, Script::Get, false),
    full("get-1k-4096", "/1k", 4096, Script::Get, false),
];

/// The values of `--scenario`.
pub(super) const NAMES: [&str; 10] = [
    "get-1k-64",
    "get-1k-512",
    "get-64k",
    "post-1k",
    "close-1k",
    "rate-25",
    "rate-50",
    "get-1k-1",
    "get-1k-8",
    "get-1k-4096",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_scenario() {
        assert_eq!(ALL.each_ref().map(|scenario| scenario.name), NAMES);
    }

    #[test]
    fn names_choose_and_no_name_means_the_default_ones() {
        let chosen = Scenario::named(&["rate-25".into(), "get-1k-8".into()]);
        assert_eq!(chosen.iter().map(|one| one.name).collect::<Vec<_>>(), ["rate-25", "get-1k-8"]);
        assert_eq!(Scenario::named(&[]).len(), 7);
    }
}
