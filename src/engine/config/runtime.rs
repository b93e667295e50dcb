//! `[runtime]`: cores, memory, the way to the kernel, and DNS.
//!
//! `cores`, `cpus`, `driver` and `log` are also flags and environment variables of `ringway run`. The control
//! crate decides which of them holds.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use crate::keys::{
    ByteSize, DnsServer, ItemKind, KeyRule, Mistake, Shape, Value, Written, section, words,
};

section! {
    /// The share of the machine that the gateway uses.
    pub settings Runtime {
        /// The number of workers, each pinned to a CPU: "all" for one per CPU, or a count.
        cores: Cores => KeyRule::default(Cores::All);
        /// The CPUs for the workers, in this order. Absent: those that the process may run on.
        cpus: Option<CpuList> => KeyRule::optional("\"0-3,8\"");
        /// The way to talk to the kernel. "auto" is io_uring, or epoll where io_uring is not
        /// permitted; then a warning gives the reason.
        driver: DriverChoice => KeyRule::default(DriverChoice::Auto);
        /// The form of the process log on standard error. "auto" is text on a terminal and under
        /// journald, and JSON otherwise.
        log: ProcessLogFormat => KeyRule::default(ProcessLogFormat::Auto);
        /// The memory for all buffers of the node, divided among the cores.
        buffer_bytes_max: ByteSize => KeyRule::default(BUFFER_BYTES_DEFAULT)
            .within(ByteSize::mib(1)..=ByteSize::gib(1024));
        /// The DNS servers that names in `endpoints` are resolved by. Empty: those of
        /// /etc/resolv.conf, with its search domains and options. /etc/hosts comes first either way.
        /// A running gateway takes a change of this key.
        resolvers: Vec<DnsServer> => KeyRule::default(Vec::new()).example("[\"127.0.0.53:53\"]");
    }
}

/// Enough for 4,000 exchanges at once that hold 64 KiB each.
const BUFFER_BYTES_DEFAULT: ByteSize = ByteSize::mib(256);

/// More CPUs than Linux supports (`NR_CPUS` is at most 8192).
const CPUS_MAX: usize = 8192;

/// The number of workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// One for each CPU that may be used.
    #[default]
    All,
    /// This many, at least 1.
    Count(usize),
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "all" => Ok(Self::All),
            Ok(count @ 1..=CPUS_MAX) => Ok(Self::Count(count)),
            _ => Err(format!("\"{text}\" is not \"all\" or a count of 1 to {CPUS_MAX}")),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::Count(count) => count.fmt(f),
        }
    }
}

impl Value for Cores {
    fn expected() -> Cow<'static, str> {
        "\"all\" or a count".into()
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(Shape::Words(vec!["all"])), Box::new(Shape::Integer))
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind {
            ItemKind::Integer(Some(count)) => count.to_string().parse().map_err(Mistake::value),
            ItemKind::Integer(None) => Err(Mistake::value("the number is out of range")),
            ItemKind::Text(text) => text.value.parse().map_err(Mistake::value),
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        match self {
            Self::All => Written::text("all"),
            Self::Count(count) => Written::Integer(i64::try_from(*count).unwrap_or(i64::MAX)),
        }
    }
}

/// CPUs by number, in the order in which workers take them; none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList(pub Vec<usize>);

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cpus = Vec::new();
        let mut seen = HashSet::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse().ok().filter(|cpu| *cpu < CPUS_MAX);
            let (Some(first), Some(last)) = (number(first), number(last)) else {
                return Err(format!("\"{part}\" is not a CPU or a range of CPUs such as 0-3"));
            };
            if first > last {
                return Err(format!("the range {part} ends before it begins"));
            }
            for cpu in first..=last {
                if !seen.insert(cpu) {
                    return Err(format!("CPU {cpu} is listed twice"));
                }
                cpus.push(cpu);
            }
        }
        Ok(Self(cpus))
    }
}

impl Value for CpuList {
    fn expected() -> Cow<'static, str> {
        "a list of CPUs such as \"0-3,8\"".into()
    }

    fn shape() -> Shape {
        let pattern = Some("^ *[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*$");
        Shape::Text { noun: "CPU list", pattern }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind {
            ItemKind::Text(text) => text.value.parse().map_err(Mistake::value),
            _ => Err(Mistake::KIND),
        }
    }

    fn write(&self) -> Written {
        let runs = self.0.chunk_by(|one, next| one + 1 == *next);
        let run = |run: &[usize]| match run {
            [] => String::new(),
            [cpu] => cpu.to_string(),
            [first, .., last] => format!("{first}-{last}"),
        };
        Written::Text(runs.map(run).collect::<Vec<_>>().join(","))
    }
}

words! {
    /// The way to the kernel.
    pub enum DriverChoice {
        /// The best one that is permitted here.
        #[default]
        Auto = "auto",
        /// `io_uring` or nothing.
        IoUring = "io_uring",
        /// epoll.
        Epoll = "epoll",
    }
}

words! {
    /// The form of the process log.
    pub enum ProcessLogFormat {
        /// Text for people, JSON for programs.
        #[default]
        Auto = "auto",
        /// A line of text per event.
        Text = "text",
        /// A JSON object per event.
        Json = "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(text: &str) -> Result<Vec<usize>, String> {
        text.parse().map(|CpuList(cpus)| cpus)
    }

    #[test]
    fn a_cpu_list_keeps_its_order() {
        assert_eq!(cpus("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(cpus("8, 0-1"), Ok(vec![8, 0, 1]));
        assert_eq!(cpus("5"), Ok(vec![5]));
    }

    #[test]
    fn a_cpu_list_that_means_nothing_is_refused_with_the_part() {
        for (text, part) in [
            ("", "\"\""),
            ("a", "\"a\""),
            ("1,", "\"\""),
            ("1-", "\"1-\""),
            ("-1", "\"-1\""),
            ("0-8192", "\"0-8192\""),
            ("3-1", "3-1"),
            ("0-3,2", "CPU 2"),
        ] {
            let refused = cpus(text).unwrap_err();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn cores_are_all_or_a_count_above_zero() {
        assert_eq!("all".parse(), Ok(Cores::All));
        assert_eq!("4".parse(), Ok(Cores::Count(4)));
        for text in ["0", "-1", "", "some", "8193"] {
            assert!(text.parse::<Cores>().is_err(), "{text}");
        }
    }
}
