//! The way to DNS: the servers and files that are asked, and their answers in our words.
//!
//! /etc/hosts is asked first, then the servers of the configuration, or those of /etc/resolv.conf.
//! Both files are read again when they change. The meaning of an answer is decided elsewhere.
//!
//! Invariant: at most [`QUESTIONS_MAX`] names are asked for at once, because each question has a
//! socket.

use std::cell::RefCell;
use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use engine::names::{DnsName, Lookup, NamedPlace, ServiceTarget};
use engine::time::Micros;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, Resolver as Client, TokioResolver};
use tokio::sync::Semaphore;

/// Names that are asked for at once. Each has two sockets, of the descriptors that no worker uses.
const QUESTIONS_MAX: usize = 16;

/// The wait for one server. Stale addresses serve meanwhile, but at the start nothing does.
const TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Further questions to the servers when none has answered.
const ATTEMPTS_MAX: usize = 1;

/// For how long an address of the hosts file holds. To look whether the file has changed costs a
/// system call.
const HOSTS_TTL: Micros = Micros::secs(5);

/// Records of a service that are looked at.
const TARGETS_MAX: usize = 256;

/// See the module.
pub(super) struct Resolver {
    hosts_path: PathBuf,
    config_path: PathBuf,
    /// The servers of the configuration; none: those of the system.
    servers: RefCell<Vec<SocketAddr>>,
    sources: RefCell<Option<Rc<DnsSources>>>,
    questions: Semaphore,
}

/// The files and servers as they were when they were last looked at.
struct DnsSources {
    hosts_stamp: Option<Stamp>,
    config_stamp: Option<Stamp>,
    hosts: Hosts,
    /// Or the reason why there is none.
    client: Result<TokioResolver, String>,
}

/// Tells one content of a file from another.
type Stamp = (SystemTime, u64);

impl Default for Resolver {
    fn default() -> Self {
        Self::with_files("/etc/hosts".into(), "/etc/resolv.conf".into())
    }
}

impl Resolver {
    fn with_files(hosts_path: PathBuf, config_path: PathBuf) -> Self {
        Self {
            hosts_path,
            config_path,
            servers: RefCell::default(),
            sources: RefCell::default(),
            questions: Semaphore::new(QUESTIONS_MAX),
        }
    }

    /// Asks these servers from now on. Returns whether they are others than before.
    pub(super) fn ask_at(&self, servers: Vec<SocketAddr>) -> bool {
        if *self.servers.borrow() == servers {
            return false;
        }
        self.servers.replace(servers);
        self.sources.replace(None);
        true
    }

    /// Asks for a name once. `known` are its places so far.
    pub(super) async fn lookup(&self, name: &DnsName, known: &[NamedPlace]) -> Lookup {
        let sources = self.sources();
        match name {
            DnsName::Host { host, port } => match Name::from_ascii(&**host) {
                Ok(host) => self.host(&sources, host, *port, known).await,
                Err(error) => Lookup::Failed(error.to_string()),
            },
            DnsName::Service(service) => match Name::from_ascii(&**service) {
                Ok(service) => self.service(&sources, service, known).await,
                Err(error) => Lookup::Failed(error.to_string()),
            },
        }
    }

    /// The addresses of a host.
    async fn host(
        &self,
        sources: &DnsSources,
        host: Name,
        port: u16,
        known: &[NamedPlace],
    ) -> Lookup {
        let mut found = sources.in_hosts(&host, port);
        if !matches!(found, Lookup::Found { .. }) {
            let client = match &sources.client {
                Ok(client) => client,
                Err(why) => return Lookup::Failed(why.clone()),
            };
            // Never closed.
            let _turn = self.questions.acquire().await;
            let (ipv4, ipv6) =
                tokio::join!(client.ipv4_lookup(host.clone()), client.ipv6_lookup(host));
            let answer = |it| answer(it, |data| data.ip_addr().map(|ip| place(ip, port)));
            found = Lookup::of_host(answer(ipv4), answer(ipv6), known);
        }
        if let Lookup::Found { places, .. } = &mut found {
            keep_reachable(places, is_reachable);
        }
        found
    }

    /// The places of a service: its records, then the addresses of each target.
    async fn service(&self, sources: &DnsSources, service: Name, known: &[NamedPlace]) -> Lookup {
        let client = match &sources.client {
            Ok(client) => client,
            Err(why) => return Lookup::Failed(why.clone()),
        };
        let records = {
            let _turn = self.questions.acquire().await;
            client.srv_lookup(service).await
        };
        let records = match records {
            Ok(records) => records,
            Err(error) => return missing(error),
        };
        let mut ttl = u32::MAX;
        let mut targets = Vec::new();
        for record in records.answers() {
            ttl = ttl.min(record.ttl);
            // The root as target says that there is no such service (RFC 2782).
            if let RData::SRV(srv) = &record.data
                && !srv.target.is_root()
                && targets.len() < TARGETS_MAX
            {
                targets.push(srv.clone());
            }
        }
        let mut asked = Vec::with_capacity(targets.len());
        for srv in targets {
            let lookup = self.host(sources, srv.target.clone(), srv.port, &[]).await;
            // The places before stay: the other targets need not wait for their answers.
            if matches!(lookup, Lookup::Failed(_)) && !known.is_empty() {
                return lookup;
            }
            asked.push(ServiceTarget { priority: srv.priority, weight: srv.weight, lookup });
        }
        Lookup::of_service(asked, Micros::secs(ttl.into()), known)
    }

    /// The files and servers as they are now.
    fn sources(&self) -> Rc<DnsSources> {
        let stamp = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let hosts_stamp = stamp(&self.hosts_path);
        let config_stamp = stamp(&self.config_path);
        let mut sources = self.sources.borrow_mut();
        if let Some(known) = &*sources
            && (known.hosts_stamp, known.config_stamp) == (hosts_stamp, config_stamp)
        {
            return Rc::clone(known);
        }
        let mut hosts = Hosts::default();
        let read = File::open(&self.hosts_path).and_then(|file| hosts.read_hosts_conf(file));
        if let Err(error) = read {
            tracing::debug!("no names from {}: {error}", self.hosts_path.display());
        }
        let client = self.client();
        if let Err(why) = &client {
            tracing::warn!("names cannot be resolved: {why}");
        }
        let now = Rc::new(DnsSources { hosts_stamp, config_stamp, hosts, client });
        *sources = Some(Rc::clone(&now));
        now
    }

    /// A client for the servers of the configuration, or of the system.
    fn client(&self) -> Result<TokioResolver, String> {
        let servers = self.servers.borrow();
        let (config, mut options) = if servers.is_empty() {
            let path = self.config_path.display();
            let text = fs::read(&self.config_path)
                .map_err(|error| format!("cannot read {path}: {error}"))?;
            parse_resolv_conf(text).map_err(|error| format!("{path}: {error}"))?
        } else {
            // Names are asked for as they are written: search domains belong to the servers of the
            // system.
            let servers = servers.iter().map(|it| name_server(*it)).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
        };
        options.timeout = options.timeout.min(TIMEOUT_MAX);
        options.attempts = options.attempts.min(ATTEMPTS_MAX);
        // The TTL decides when to ask, and then a remembered answer is of no use.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let mut builder = Client::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build().map_err(|error| error.to_string())
    }
}

impl DnsSources {
    /// The addresses that the hosts file has for a host. It has the last word on both families.
    fn in_hosts(&self, host: &Name, port: u16) -> Lookup {
        let of = |kind| {
            let found = self.hosts.lookup_static_host(&Query::query(host.clone(), kind));
            let records = found.map(|it| it.answers().to_vec()).unwrap_or_default();
            records.into_iter().filter_map(|it| Some(place(it.data.ip_addr()?, port)))
        };
        let places: Vec<_> = of(RecordType::A).chain(of(RecordType::AAAA)).collect();
        if places.is_empty() {
            return Lookup::NoName;
        }
        Lookup::Found { places, ttl: HOSTS_TTL }
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    server.connections.iter_mut().for_each(|it| it.port = address.port());
    server
}

const fn place(ip: IpAddr, port: u16) -> NamedPlace {
    NamedPlace { address: SocketAddr::new(ip, port), weight: 1 }
}

/// The answer to one question, with a place for each record that has one.
fn answer(
    answer: Result<hickory_resolver::lookup::Lookup, NetError>,
    place: impl Fn(&RData) -> Option<NamedPlace>,
) -> Lookup {
    let records = match answer {
        Ok(records) => records,
        Err(error) => return missing(error),
    };
    let records = records.answers();
    let places: Vec<_> = records.iter().filter_map(|it| place(&it.data)).collect();
    if places.is_empty() {
        return Lookup::NoAddress;
    }
    // Aliases on the way to the address have a TTL of their own.
    let ttl = records.iter().map(|it| it.ttl).min().unwrap_or(0);
    Lookup::Found { places, ttl: Micros::secs(ttl.into()) }
}

/// The meaning of an answer without records.
fn missing(error: NetError) -> Lookup {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            match response_code {
                ResponseCode::NXDomain => Lookup::NoName,
                ResponseCode::NoError => Lookup::NoAddress,
                code => Lookup::Failed(format!("the DNS server answered: {code}")),
            }
        }
        NetError::Dns(DnsError::ResponseCode(code)) => {
            Lookup::Failed(format!("the DNS server answered: {code}"))
        }
        NetError::Timeout => Lookup::Failed("no DNS server answered in time".to_owned()),
        error => Lookup::Failed(format!("no DNS server answered: {error}")),
    }
}

/// Leaves out IPv6 addresses that this host has no way to, unless there are no others: most names
/// have one, and many hosts have no IPv6.
fn keep_reachable(places: &mut Vec<NamedPlace>, is_reachable: impl Fn(SocketAddr) -> bool) {
    let kept = |it: &NamedPlace| it.address.is_ipv4() || is_reachable(it.address);
    if places.iter().any(kept) {
        places.retain(kept);
    }
}

/// Whether the kernel has a route to this address. Sends nothing.
fn is_reachable(address: SocketAddr) -> bool {
    let any = SocketAddr::new(std::net::Ipv6Addr::UNSPECIFIED.into(), 0);
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> DnsName {
        text.parse().unwrap()
    }

    fn addresses(lookup: &Lookup) -> Vec<String> {
        match lookup {
            Lookup::Found { places, .. } => {
                places.iter().map(|it| it.address.to_string()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_hosts_file_is_asked_first_and_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (hosts, config) = (folder.path().join("hosts"), folder.path().join("resolv.conf"));
        fs::write(&hosts, "10.0.0.1 users.internal users # a comment\n10.0.0.2 users\n").unwrap();
        let resolver = Resolver::with_files(hosts.clone(), config.clone());
        let lookup = resolver.lookup(&host("users:80"), &[]).await;
        assert_eq!(addresses(&lookup), ["10.0.0.1:80", "10.0.0.2:80"]);
        let Lookup::Failed(why) = resolver.lookup(&host("orders:80"), &[]).await else { panic!() };
        assert!(why.contains("cannot read") && why.contains("resolv.conf"), "{why}");
        fs::write(&hosts, "10.0.0.30 orders\n").unwrap();
        let lookup = resolver.lookup(&host("orders:80"), &[]).await;
        assert_eq!(addresses(&lookup), ["10.0.0.30:80"]);
        fs::write(&config, "# nothing\n").unwrap();
        let Lookup::Failed(why) = resolver.lookup(&host("users:80"), &[]).await else { panic!() };
        assert!(why.contains("no nameservers"), "{why}");
    }

    #[test]
    fn ipv6_addresses_without_a_route_are_left_out_unless_there_are_no_others() {
        let places = |texts: &[&str]| -> Vec<_> {
            let place = |it: &&str| NamedPlace { address: it.parse().unwrap(), weight: 1 };
            texts.iter().map(place).collect()
        };
        let mut both = places(&["10.0.0.1:1", "[2001:db8::1]:1"]);
        keep_reachable(&mut both, |_| true);
        assert_eq!(both.len(), 2);
        keep_reachable(&mut both, |_| false);
        assert_eq!(both, places(&["10.0.0.1:1"]));
        let mut ipv6 = places(&["[2001:db8::1]:1"]);
        keep_reachable(&mut ipv6, |_| false);
        assert_eq!(ipv6.len(), 1);
    }
}
