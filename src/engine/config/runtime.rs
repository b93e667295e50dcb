//! `[runtime]`: cores, memory and the way to the kernel.
//!
//! The same three values are flags and environment variables of `ringway run`; what wins is
//! decided by control.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use super::section::{Mistake, Rule, Scalar, section};
use super::shape::Shape;
use super::tree::Kind;
use super::value::ByteSize;
use super::written::Written;

section! {
    /// What the gateway takes of the machine.
    pub settings Runtime {
        /// How many pinned workers: "all", or a count.
        cores: Cores => Rule::default(Cores::All);
        /// The CPUs they are taken from, in this order. Absent: those that the process may run
        /// on.
        cpus: Option<CpuList> => Rule::optional("\"0-3,8\"");
        /// How to talk to the kernel: "auto" is io_uring, or epoll where that is not permitted,
        /// with a warning that says why.
        driver: DriverChoice => Rule::default(DriverChoice::Auto);
        /// All buffers of the node, divided among the cores.
        buffer_bytes_max: ByteSize => Rule::default(BUFFER_BYTES_DEFAULT)
            .within(ByteSize::mib(1)..=ByteSize::gib(1024));
    }
}

/// Enough for 4,000 exchanges at once that hold 64 KiB each.
const BUFFER_BYTES_DEFAULT: ByteSize = ByteSize::mib(256);

/// More CPUs than Linux supports (`NR_CPUS` is at most 8192).
const CPUS_MAX: usize = 8192;

/// How many workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// One for each CPU that may be used.
    #[default]
    All,
    /// So many; at least 1.
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

impl Scalar for Cores {
    fn wanted() -> Cow<'static, str> {
        "\"all\" or a count".into()
    }

    fn form() -> Shape {
        Shape::Either(Box::new(Shape::Words(vec!["all"])), Box::new(Shape::Integer))
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Integer(Some(count)) => count.to_string().parse().map_err(Mistake::value),
            Kind::Integer(None) => Err(Mistake::value("the number is out of range")),
            Kind::Text(text) => text.value.parse().map_err(Mistake::value),
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
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

impl Scalar for CpuList {
    fn wanted() -> Cow<'static, str> {
        "a list of CPUs such as \"0-3,8\"".into()
    }

    fn form() -> Shape {
        let pattern = Some("^ *[0-9]+ *(- *[0-9]+ *)?(, *[0-9]+ *(- *[0-9]+ *)?)*$");
        Shape::Text { noun: "CPU list", pattern }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Text(text) => text.value.parse().map_err(Mistake::value),
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
        let runs = self.0.chunk_by(|one, next| one + 1 == *next);
        let run = |run: &[usize]| match run {
            [] => String::new(),
            [cpu] => cpu.to_string(),
            [first, .., last] => format!("{first}-{last}"),
        };
        Written::Text(runs.map(run).collect::<Vec<_>>().join(","))
    }
}

/// Which way to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// The best one that is permitted here.
    #[default]
    Auto,
    /// `io_uring` or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

impl DriverChoice {
    /// The names, as they are written.
    const NAMES: [(&str, Self); 3] =
        [("auto", Self::Auto), ("io_uring", Self::IoUring), ("epoll", Self::Epoll)];
}

impl FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::NAMES.into_iter().find(|(name, _)| *name == text);
        let what = || format!("\"{text}\" is not one of auto, io_uring, epoll");
        named.map(|(_, choice)| choice).ok_or_else(what)
    }
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.into_iter().find(|(_, choice)| choice == self);
        f.pad(named.map_or("auto", |(name, _)| name))
    }
}

impl Scalar for DriverChoice {
    fn wanted() -> Cow<'static, str> {
        "\"auto\", \"io_uring\" or \"epoll\"".into()
    }

    fn form() -> Shape {
        Shape::Words(Self::NAMES.map(|(name, _)| name).to_vec())
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        match kind {
            Kind::Text(text) => text.value.parse().map_err(Mistake::value),
            _ => Err(Mistake::Kind),
        }
    }

    fn show(&self) -> Written {
        Written::text(self.to_string())
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

    #[test]
    fn drivers_are_written_as_they_are_read() {
        for (name, choice) in DriverChoice::NAMES {
            assert_eq!(name.parse(), Ok(choice));
            assert_eq!(choice.to_string(), name);
        }
        assert!("uring".parse::<DriverChoice>().is_err());
    }
}
