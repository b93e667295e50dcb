//! `ringway status`: how does the node stand? One screen for people, or JSON.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::admin::client::{Client, NodeAddress, Unreachable};
use control::admin::view::{
    CoreView, EndpointView, FailureView, NameView, ReloadView, RequestsView, StatusView,
    TroubleView,
};

use super::exit::CANNOT_START;
use super::{log, out};

/// The arguments of `ringway status`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Show each core too
    #[arg(long)]
    cores: bool,
    /// Show it again each second
    #[arg(long)]
    watch: bool,
    /// Print JSON, one line each time
    #[arg(long)]
    json: bool,
    /// Where the node listens for the admin API: HOST:PORT or unix:/path. A token that it wants is
    /// taken from RINGWAY_ADMIN_TOKEN
    #[arg(long, value_name = "ADDR", env = "RINGWAY_ADMIN", default_value = "127.0.0.1:9901")]
    admin: NodeAddress,
}

/// Workers report once a second.
const REFRESH: Duration = Duration::from_secs(1);

/// Reasons that are shown. There are about thirty; the rest is in the metrics.
const REASONS_MAX: usize = 5;

/// Clears the screen and begins at its top.
const TOP: &str = "\x1b[H\x1b[2J";

/// 0 when the node has answered, 3 when it cannot be reached.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let token = std::env::var("RINGWAY_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
    let client = Client::new(arguments.admin.clone(), token);
    let mut reached = false;
    loop {
        let shown = match show(&client, arguments) {
            Ok(text) => {
                reached = true;
                text
            }
            // A node that is being restarted comes back.
            Err(Unreachable { what, .. }) if reached => format!("{what}\n"),
            Err(Unreachable { what, cure }) => {
                log::complain(&format!("error: {what}\n  = help: {cure}"));
                return ExitCode::from(CANNOT_START);
            }
        };
        let between = match (arguments.watch && !arguments.json, stdout().is_terminal()) {
            (false, _) => "",
            (true, true) => TOP,
            (true, false) => "\n",
        };
        let printed = out::print(&format!("{between}{shown}"));
        if printed.is_err() || !arguments.watch {
            return out::ended(printed, ExitCode::SUCCESS);
        }
        sleep(REFRESH);
    }
}

fn show(client: &Client, arguments: &Arguments) -> Result<String, Unreachable> {
    let json = client.fetch("/v1/status")?;
    if arguments.json {
        return Ok(String::from_utf8_lossy(&json).into_owned());
    }
    let status: StatusView = serde_json::from_slice(&json).map_err(|error| Unreachable {
        what: format!("the answer of {} cannot be read: {error}", arguments.admin),
        cure: "is that a Ringway of this version?",
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs());
    Ok(Screen { status: &status, address: &arguments.admin, cores: arguments.cores, now }
        .to_string())
}

/// The text for people.
struct Screen<'a> {
    status: &'a StatusView,
    address: &'a NodeAddress,
    cores: bool,
    /// Seconds since 1970.
    now: u64,
}

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, address, .. } = self;
        let state = match (&*status.not_ready, status.draining) {
            (_, true) => "draining".to_owned(),
            ([], false) => "ready".to_owned(),
            (reasons, false) => format!("not ready: {}", reasons.join(", ")),
        };
        writeln!(f, "ringway {} at {address}: {state}\n", status.ringway)?;
        row(f, "configuration", &configuration(status))?;
        if let Some(last) = &status.reloads.last {
            row(f, "last change", &last_change(last, self.now))?;
        }
        let cores = counted(status.cores.len() as u64, "core");
        row(f, "driver", &format!("{} on {cores}", status.driver))?;
        row(f, "uptime", &duration(status.uptime_seconds))?;
        for listener in &status.listeners {
            let connections = counted(listener.connections, "connection");
            let text = format!("{} on {}: {connections}", listener.name, listener.address);
            row(f, "listener", &text)?;
        }
        for upstream in &status.upstreams {
            let (active, idle) = (number(upstream.active), number(upstream.idle));
            let mut text = format!("{}: {active} connections active, {idle} idle", upstream.name);
            if !upstream.draining.is_empty() {
                text.push_str("; draining ");
                text.push_str(&upstream.draining.join(", "));
            }
            row(f, "upstream", &text)?;
            for name in &upstream.names {
                row(f, "  name", &name_text(name))?;
            }
            for endpoint in &upstream.endpoints {
                row(f, "  endpoint", &endpoint_text(endpoint, self.now))?;
            }
        }
        let requests = &status.requests;
        let rates = format!(
            "{}, {}/s now, {}/s since the start",
            number(requests.total),
            rate(requests.per_second),
            rate(requests.per_second_since_start)
        );
        row(f, "requests", &rates)?;
        row(f, "answers", &answers(requests))?;
        if !requests.reasons.is_empty() {
            let reasons = requests.reasons.iter().take(REASONS_MAX);
            let reasons: Vec<_> =
                reasons.map(|it| format!("{} {}", it.reason, number(it.count))).collect();
            row(f, "reasons", &reasons.join(", "))?;
        }
        for TroubleView { trouble, count } in &status.troubles {
            row(f, "trouble", &format!("{} {trouble}", number(*count)))?;
        }
        if self.cores {
            writeln!(f)?;
            core_row(f, ["core", "CPU", "version", "connections", "requests", "per s", "busy"])?;
            for core in &status.cores {
                core_row(f, core_cells(core).each_ref().map(|cell| &**cell))?;
            }
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    writeln!(f, "  {name:<14} {value}")
}

fn core_row(f: &mut fmt::Formatter<'_>, cells: [&str; 7]) -> fmt::Result {
    let [core, cpu, version, connections, requests, rate, busy] = cells;
    writeln!(
        f,
        "  {core:>4} {cpu:>4} {version:>8} {connections:>12} {requests:>16} {rate:>12} {busy:>7}"
    )
}

fn core_cells(core: &CoreView) -> [String; 7] {
    [
        core.core.to_string(),
        core.cpu.to_string(),
        core.config_version.to_string(),
        number(core.connections),
        number(core.requests),
        rate(core.requests_per_second),
        format!("{:.0} %", core.busy_ratio * 100.0),
    ]
}

fn configuration(status: &StatusView) -> String {
    let version = status.config_version;
    let late = status.cores.iter().filter(|core| core.config_version != version);
    let late: Vec<_> =
        late.map(|core| format!("core {} has {}", core.core, core.config_version)).collect();
    let posted =
        if status.config_posted { "; posted, not in the file: a restart forgets it" } else { "" };
    match &*late {
        [] => format!("version {version} on every core{posted}"),
        late => format!("version {version}, but {}{posted}", late.join(", ")),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds for people to read")]
fn last_change(last: &ReloadView, now: u64) -> String {
    let ago = duration(now.saturating_sub(last.unix) as f64);
    match (&last.version, &last.error) {
        (_, Some(error)) => format!("refused {ago} ago: {error}"),
        (Some(version), None) => format!("version {version}, {ago} ago"),
        (None, None) => format!("{ago} ago"),
    }
}

/// The addresses of a name, and the trouble with them.
#[expect(clippy::cast_precision_loss, reason = "seconds for people to read")]
fn name_text(name: &NameView) -> String {
    let NameView { name, addresses, age_seconds, trouble } = name;
    let mut text = match addresses {
        0 => format!("{name}: no address"),
        1 => format!("{name}: 1 address"),
        count => format!("{name}: {} addresses", number(*count)),
    };
    // Writing to a text does not fail.
    if let Some(age) = age_seconds {
        let _ = write!(text, ", resolved {} ago", duration(*age as f64));
    }
    if let Some(trouble) = trouble {
        let _ = write!(text, "{} {trouble}", if *addresses == 0 { ":" } else { "; now:" });
    }
    text
}

/// The tries at an endpoint, and its last failure.
#[expect(clippy::cast_precision_loss, reason = "seconds for people to read")]
fn endpoint_text(endpoint: &EndpointView, now: u64) -> String {
    let EndpointView { address, names, tries, failed, last_failure, .. } = endpoint;
    // One name says where the address comes from; more than one are rare, and stand above.
    let from = names.first().map_or_else(String::new, |name| format!(" ({name})"));
    let mut text = format!("{address}{from}: {} tries", number(*tries));
    if *failed > 0 {
        // Writing to a text does not fail.
        let _ = write!(text, ", {} failed", number(*failed));
    }
    if let Some(FailureView { unix, cause }) = last_failure {
        let ago = duration(now.saturating_sub(*unix) as f64);
        let _ = write!(text, ", the last one {ago} ago: {cause}");
    }
    if endpoint.ejected_cores > 0 {
        let _ = write!(text, "; ejected on {}", counted(endpoint.ejected_cores, "core"));
    }
    if endpoint.checks.as_deref() == Some("failing") {
        let trouble = endpoint.check_trouble.as_deref().unwrap_or("a check passed again");
        let _ = write!(text, "; checks fail: {trouble}");
    }
    text
}

/// The shares of the classes that occur.
fn answers(requests: &RequestsView) -> String {
    let classes = [
        ("1xx", requests.status_1xx),
        ("2xx", requests.status_2xx),
        ("3xx", requests.status_3xx),
        ("4xx", requests.status_4xx),
        ("5xx", requests.status_5xx),
    ];
    let all: u64 = classes.iter().map(|(_, count)| count).sum();
    let mut text = String::new();
    for (class, count) in classes.into_iter().filter(|&(_, count)| count > 0) {
        #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
        let share = count as f64 * 100.0 / all as f64;
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a text does not fail.
        let _ = write!(text, "{comma}{class} {} ({share:.2} %)", number(count));
    }
    if text.is_empty() { "none yet".to_owned() } else { text }
}

fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(count), if count == 1 { "" } else { "s" })
}

/// With a comma after every three digits.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        return format!("{per_second:.1}");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people to read"
    )]
    number(per_second.round() as u64)
}

/// The two largest units: "3 d 4 h", "12 min 5 s".
fn duration(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time for people to read"
    )]
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use control::admin::view::{ListenerView, ReasonView, ReloadsView, UpstreamView};

    use super::*;

    fn core(core: usize, config_version: u64) -> CoreView {
        CoreView {
            core,
            cpu: core + 2,
            config_version,
            connections: 6,
            requests: 617_283,
            requests_per_second: 600.4,
            busy_ratio: 0.254,
            buffer_bytes_lent: 4096,
        }
    }

    fn name(addresses: u64, age_seconds: Option<u64>, trouble: Option<&str>) -> NameView {
        let (name, trouble) = ("users.internal:9000".to_owned(), trouble.map(str::to_owned));
        NameView { name, addresses, age_seconds, trouble }
    }

    fn upstream() -> UpstreamView {
        let endpoint = EndpointView {
            address: "10.0.0.1:9000".to_owned(),
            names: Vec::new(),
            state: "drain".to_owned(),
            checks: Some("failing".to_owned()),
            check_trouble: Some("status 500".to_owned()),
            ejected_cores: 2,
            idle: 12,
            active: 3,
            in_flight: 3,
            tries: 1200,
            failed: 7,
            results: BTreeMap::new(),
            connect_failures: BTreeMap::new(),
            last_failure: Some(FailureView {
                unix: 1_700_000_200,
                cause: "connect: connection refused (ECONNREFUSED)".to_owned(),
            }),
        };
        UpstreamView {
            name: "users".to_owned(),
            idle: 12,
            active: 3,
            draining: vec!["10.0.0.1:9000".to_owned()],
            retries: BTreeMap::new(),
            names: vec![
                name(2, Some(90), Some("no DNS server answered in time")),
                name(1, Some(7), None),
                name(0, None, Some("DNS knows no such name")),
            ],
            endpoints: vec![endpoint],
        }
    }

    fn status() -> StatusView {
        StatusView {
            ringway: "0.1.0".to_owned(),
            config_version: 7,
            config_posted: false,
            driver: "io_uring".to_owned(),
            started_unix: 1_700_000_000,
            uptime_seconds: 11_525.3,
            draining: false,
            not_ready: Vec::new(),
            listeners: vec![ListenerView {
                name: "web".to_owned(),
                address: "127.0.0.1:8080".to_owned(),
                connections: 12,
            }],
            upstreams: vec![upstream()],
            requests: RequestsView {
                total: 1_234_567,
                per_second: 1200.8,
                per_second_since_start: 1.25,
                status_1xx: 0,
                status_2xx: 975,
                status_3xx: 0,
                status_4xx: 20,
                status_5xx: 5,
                reasons: vec![ReasonView { reason: "no_route".to_owned(), count: 20 }],
                retries: 0,
            },
            reloads: ReloadsView {
                ok: 6,
                unchanged: 0,
                refused: 1,
                last: Some(ReloadView {
                    unix: 1_700_000_100,
                    version: None,
                    error: Some("a.toml:3:1: unknown key".to_owned()),
                }),
            },
            troubles: vec![TroubleView { trouble: "accepts failed".to_owned(), count: 3000 }],
            cores: vec![core(0, 7), core(1, 7)],
        }
    }

    fn screen(status: &StatusView, cores: bool) -> String {
        let address = NodeAddress::Tcp("127.0.0.1:9901".to_owned());
        Screen { status, address: &address, cores, now: 1_700_000_230 }.to_string()
    }

    #[test]
    fn one_screen_says_what_matters() {
        assert_eq!(
            screen(&status(), true),
            "\
ringway 0.1.0 at 127.0.0.1:9901: ready

  configuration  version 7 on every core
  last change    refused 2 min 10 s ago: a.toml:3:1: unknown key
  driver         io_uring on 2 cores
  uptime         3 h 12 min
  listener       web on 127.0.0.1:8080: 12 connections
  upstream       users: 3 connections active, 12 idle; draining 10.0.0.1:9000
    name         users.internal:9000: 2 addresses, resolved 1 min 30 s ago; now: no DNS server answered in time
    name         users.internal:9000: 1 address, resolved 7 s ago
    name         users.internal:9000: no address: DNS knows no such name
    endpoint     10.0.0.1:9000: 1,200 tries, 7 failed, the last one 30 s ago: connect: connection refused (ECONNREFUSED); ejected on 2 cores; checks fail: status 500
  requests       1,234,567, 1,201/s now, 1.2/s since the start
  answers        2xx 975 (97.50 %), 4xx 20 (2.00 %), 5xx 5 (0.50 %)
  reasons        no_route 20
  trouble        3,000 accepts failed

  core  CPU  version  connections         requests        per s    busy
     0    2        7            6          617,283          600    25 %
     1    3        7            6          617,283          600    25 %
"
        );
    }

    #[test]
    fn a_core_that_lags_and_a_drain_are_said() {
        let lagging = StatusView {
            not_ready: vec!["core 1 lags".to_owned()],
            cores: vec![core(0, 7), core(1, 6)],
            ..status()
        };
        let text = screen(&lagging, false);
        assert!(text.contains("not ready: core 1 lags\n"), "{text}");
        assert!(text.contains("version 7, but core 1 has 6\n"), "{text}");
        assert!(!text.contains("CPU"), "{text}");
        let posted = StatusView { config_posted: true, ..status() };
        let text = screen(&posted, false);
        assert!(text.contains("on every core; posted, not in the file"), "{text}");
        let text = screen(&StatusView { draining: true, ..lagging }, false);
        assert!(text.contains("9901: draining\n"), "{text}");
    }

    #[test]
    fn numbers_and_times_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 9.96, 12.5, 1234.4].map(rate), ["0.0", "10.0", "13", "1,234"]);
        assert_eq!(
            [0.9, 61.0, 3600.0, 90_000.0].map(duration),
            ["0 s", "1 min 1 s", "1 h 0 min", "1 d 1 h"]
        );
    }
}
