//! Runs `wrk` and `h2load`, and parses their output.
//!
//! Both run on the load CPU and end by themselves; a limit above their own time catches the case
//! that they do not. Reading is apart from running, and tested with captured output.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::scenario::{Pace, Scenario};
use crate::Error;
use crate::child::{self, Guarded, Interrupt};

/// The load generators and where their scripts lie.
#[derive(Debug)]
pub(super) struct Generators {
    cpu: usize,
    wrk: PathBuf,
    h2load: PathBuf,
    folder: PathBuf,
}

/// The result of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Load {
    /// Requests that were answered.
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Socket errors, timeouts, and answers that are not 2xx.
    pub(super) errors: u64,
}

impl Generators {
    /// Finds the programs that the scenarios need and writes the scripts into `folder`.
    pub(super) fn find(cpu: usize, scenarios: &[&Scenario], folder: &Path) -> Result<Self, Error> {
        let need = |name: &str, package: &str| {
            child::find_program(name).ok_or_else(|| {
                Error::new(format!("{name} is not installed: run `apt-get install {package}`"))
            })
        };
        for scenario in scenarios {
            if let Pace::Full(script) = scenario.pace {
                let file = folder.join(script.file_name());
                std::fs::write(&file, script.text())
                    .map_err(Error::doing(format!("write {}", file.display())))?;
            }
        }
        let paced = scenarios.iter().any(|scenario| scenario.is_paced());
        Ok(Self {
            cpu,
            wrk: need("wrk", "wrk")?,
            h2load: if paced { need("h2load", "nghttp2-client")? } else { PathBuf::new() },
            folder: folder.to_owned(),
        })
    }

    /// Names and versions, for the head of the report.
    pub(super) fn versions(&self) -> String {
        let wrk = child::text_of(&self.wrk, &["-v"]);
        let wrk = wrk.split_ascii_whitespace().nth(1).unwrap_or("of unknown version").to_owned();
        let mut text = format!("wrk {wrk}");
        if !self.h2load.as_os_str().is_empty() {
            let h2load = child::text_of(&self.h2load, &["--version"]);
            text.push_str(", ");
            text.push_str(h2load.trim());
        }
        text
    }

    /// Loads `to` for `seconds`. `rate` is in requests per second, for scenarios with a pace.
    pub(super) fn run(
        &self,
        scenario: &Scenario,
        to: SocketAddr,
        seconds: u32,
        rate: f64,
        interrupt: &Interrupt,
    ) -> Result<Load, Error> {
        let limit = Duration::from_secs(u64::from(seconds)) + OVERTIME;
        let (name, mut command) = self.command(scenario, to, seconds, rate);
        // h2load appends to its log, and the lines of the warm-up and of earlier runs do not belong
        // to this run.
        let _ = std::fs::remove_file(self.log());
        let run = Guarded::spawn(name, &mut command)?.finish(limit, interrupt)?;
        let text = String::from_utf8_lossy(&run.stdout);
        let read = match scenario.pace {
            Pace::Full(_) => parse_wrk(&text),
            Pace::Percent(_) => {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                parse_h2load(&text, &log)
            }
        };
        read.ok_or_else(|| {
            let problem = String::from_utf8_lossy(&run.stderr);
            Error::new(format!("cannot read what {name} printed ({}): {problem}{text}", run.status))
        })
    }

    /// The same load for a moment, not counted: caches, pools and branch predictors fill.
    pub(super) fn warm_up(
        &self,
        scenario: &Scenario,
        to: SocketAddr,
        rate: f64,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let (name, mut command) = self.command(scenario, to, WARM_UP_SECONDS_MAX, rate);
        let guard = Guarded::spawn(name, &mut command)?;
        interrupt.sleep(WARM_UP)?;
        drop(guard);
        Ok(())
    }

    fn command(
        &self,
        scenario: &Scenario,
        to: SocketAddr,
        seconds: u32,
        rate: f64,
    ) -> (&'static str, Command) {
        let url = format!("http://{to}{}", scenario.path);
        let connections = scenario.connections;
        let (name, mut command) = match scenario.pace {
            Pace::Full(script) => {
                let mut command = child::pinned(self.cpu, &self.wrk);
                command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
                command.args(["--latency", "-s"]).arg(self.folder.join(script.file_name()));
                ("wrk", command)
            }
            Pace::Percent(_) => {
                // h2load takes the rate of one client, fractions too, and keeps it with one timer
                // per client that ticks every 10 ms at most: arrivals come in small bursts.
                let each = rate / f64::from(connections);
                let mut command = child::pinned(self.cpu, &self.h2load);
                command.args(["--h1", "-t1", &format!("-c{connections}")]);
                command.args([&format!("-D{seconds}s"), &format!("--rps={each:.2}")]);
                command.arg("--log-file").arg(self.log());
                ("h2load", command)
            }
        };
        command.arg(url).stdout(Stdio::piped()).stderr(Stdio::piped());
        (name, command)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("h2load.log")
    }
}

/// Reads the output of `wrk --latency`.
fn parse_wrk(text: &str) -> Option<Load> {
    let total = text.lines().find(|line| line.contains(" requests in "))?;
    let mut words = total.split_ascii_whitespace();
    let requests = words.next()?.parse().ok()?;
    let seconds = wrk_time_us(words.nth(2)?.trim_end_matches(','))? / 1e6;
    let quantile = |name: &str| {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name))?;
        wrk_time_us(line.trim())
    };
    // "  Socket errors: connect 0, read 1, write 0, timeout 2", only there when something failed.
    let sockets = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Socket errors:"))
        .map_or(0, numbers_sum);
    let statuses = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("Non-2xx or 3xx responses:"))
        .map_or(0, numbers_sum);
    Some(Load {
        requests,
        seconds,
        p50_us: quantile("50%")?,
        p99_us: quantile("99%")?,
        errors: sockets + statuses,
    })
}

/// "315.00us", "1.60ms", "2.01s", "1.00m", in microseconds.
fn wrk_time_us(text: &str) -> Option<f64> {
    let split = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        "h" => 3600e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn numbers_sum(text: &str) -> u64 {
    text.split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|number| number.parse::<u64>().ok())
        .sum()
}

/// Reads the output of `h2load --h1`, and the quantiles from its log: it prints none itself.
fn parse_h2load(text: &str, log: &str) -> Option<Load> {
    let finished = text.lines().find_map(|line| line.strip_prefix("finished in "))?;
    let seconds = wrk_time_us(finished.split(',').next()?)? / 1e6;
    let requests = text.lines().find_map(|line| line.strip_prefix("requests: "))?;
    let statuses = text.lines().find_map(|line| line.strip_prefix("status codes: "))?;
    let (good, done) = (labelled(statuses, "2xx")?, labelled(requests, "done")?);
    // Failed ones are a part of the done ones, errors and timeouts a part of the failed ones.
    let bad = done.saturating_sub(good).max(labelled(requests, "failed")?);
    let mut times: Vec<u32> = log.lines().filter_map(log_time_us).collect();
    times.sort_unstable();
    Some(Load {
        requests: done,
        seconds,
        p50_us: quantile_us(&times, 50),
        p99_us: quantile_us(&times, 99),
        errors: bad,
    })
}

/// The number before a label: "12800 done, 0 failed".
fn labelled(text: &str, label: &str) -> Option<u64> {
    let part = text.split(", ").find_map(|part| part.strip_suffix(label))?;
    part.trim().parse().ok()
}

/// Third column of "start, status, microseconds"; failed ones have status -1.
fn log_time_us(line: &str) -> Option<u32> {
    let mut columns = line.split('\t');
    let status: i32 = columns.nth(1)?.parse().ok()?;
    if status < 0 {
        return None;
    }
    columns.next()?.parse().ok()
}

fn quantile_us(sorted: &[u32], percent: usize) -> f64 {
    sorted.get(sorted.len() * percent / 100).map_or(f64::NAN, |&us| f64::from(us))
}

/// The time that a generator may take beyond the requested one: start, connections, printing.
const OVERTIME: Duration = Duration::from_secs(20);
const WARM_UP: Duration = Duration::from_millis(500);
/// `wrk` takes whole seconds; it is ended before.
const WARM_UP_SECONDS_MAX: u32 = 2;

#[cfg(test)]
mod tests;
