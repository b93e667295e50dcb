//! Certificates: from the files that the configuration names to the TLS of each listener.
//!
//! The files came with the texts of the configuration ([`source`](crate::source)), so a certificate
//! that is replaced is a change like any other: it is checked first, and a bad one leaves the version
//! before in place.
//!
//! Invariant: no message shows a key.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use engine::config::{
    Certificate, ClientAuth, Diagnostic, Endpoint, FilePath, ListenerTls, Model, Name, Sources,
    Spanned, TlsPolicy, UpstreamTls,
};
use engine::names::{AddressOrName, DnsName};
use engine::snapshot::{Companion, Snapshot};
use worker::conn::tls::{
    Certified, CertifiedError, ClientCertificates, ClientCertificatesError, ClientVerifier,
    ServerSettings, ServerTls, Tickets,
};
use worker::tls::table::TlsTable;
use worker::upstream::tls::{ClientSettings, ClientTls, ClientTlsError, Roots};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate that expires within this time is a warning. Those that renew themselves do so with
/// more than this left.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The certificates of a version.
#[derive(Clone, Debug)]
pub(crate) struct LiveCertificates {
    /// For the workers.
    pub(crate) table: Arc<TlsTable>,
    /// The keys of tickets, by the way in which clients are checked.
    tickets: HashMap<u64, Tickets>,
    /// The TLS towards endpoints, by all that decides about it. It holds the sessions that can be
    /// resumed, so the same is used for as long as nothing of that changes.
    clients: HashMap<u64, Arc<ClientTls>>,
    /// When each certificate expires, in seconds since 1970.
    pub(crate) expiries: Vec<(String, u64)>,
}

/// The certificates, and the warnings about them.
pub(crate) struct Made {
    pub(crate) certificates: LiveCertificates,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Makes the certificates of `table`, which was compiled from `model`. `before` are those of the
/// version before, whose tickets stay good. `now` is in seconds since 1970.
///
/// # Errors
/// Every mistake in the files.
pub(crate) fn make(
    sources: &Sources,
    model: &Model,
    table: &mut Snapshot,
    before: Option<&LiveCertificates>,
    now: u64,
) -> Result<Made, Vec<Diagnostic>> {
    let mut maker = Maker {
        sources,
        model,
        now: i64::try_from(now).unwrap_or(i64::MAX),
        before,
        tickets: HashMap::new(),
        clients: HashMap::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
    };
    let certificates: HashMap<&str, Read> = model
        .document
        .certificates
        .objects
        .iter()
        .filter_map(|(name, it)| Some((&***name, maker.certificate(name, it)?)))
        .collect();
    let mut listeners = HashMap::new();
    for listener in &table.listeners {
        let Some(tls) = &listener.tls else { continue };
        if let Some(made) = maker.listener(tls, &certificates) {
            listeners.insert(listener.id, Arc::new(made));
        }
    }
    for upstream in &mut table.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        if let Some(made) = maker.upstream(&upstream.name, tls, &certificates) {
            upstream.companion = Companion::new(made);
        }
    }
    if !maker.errors.is_empty() {
        maker.errors.append(&mut maker.warnings);
        maker.errors.sort_by_key(Diagnostic::order);
        return Err(maker.errors);
    }
    let expiry = |(name, it): (&&str, &Read)| ((*name).to_owned(), it.expires);
    let mut expiries: Vec<_> = certificates.iter().map(expiry).collect();
    expiries.sort();
    let table = Arc::new(TlsTable { listeners });
    let Maker { tickets, clients, warnings, .. } = maker;
    let certificates = LiveCertificates { table, tickets, clients, expiries };
    Ok(Made { certificates, warnings })
}

/// A certificate that was read.
struct Read {
    certified: Certified,
    /// The names in it, in lower case, sorted.
    names: Vec<Box<str>>,
    /// When it expires, in seconds since 1970.
    expires: u64,
}

struct Maker<'a> {
    sources: &'a Sources,
    model: &'a Model,
    now: i64,
    before: Option<&'a LiveCertificates>,
    tickets: HashMap<u64, Tickets>,
    clients: HashMap<u64, Arc<ClientTls>>,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

impl<'a> Maker<'a> {
    /// The content of a file; `None` after a mistake, which has been reported.
    fn content(&mut self, path: &Spanned<FilePath>) -> Option<&'a [u8]> {
        match self.model.content(self.sources, path) {
            Ok(content) => Some(content),
            Err(why) => {
                let what = format!("cannot read {}: {why}", path.shown());
                let cure = "name a file that the gateway may read; paths are relative to the file \
                            they stand in";
                self.errors.push(self.model.mistake(path.span, what).cured_by(cure));
                None
            }
        }
    }

    fn refuse(&mut self, path: &Spanned<FilePath>, why: &str, cure: &str) {
        let what = format!("{} cannot be used: {why}", path.shown());
        self.errors.push(self.model.mistake(path.span, what).cured_by(cure));
    }

    fn warn(&mut self, path: &Spanned<FilePath>, what: String, cure: &str) {
        self.warnings.push(self.model.mistake(path.span, what).cured_by(cure).warning());
    }

    fn certificate(&mut self, name: &Spanned<Name>, it: &Certificate) -> Option<Read> {
        let chain = self.content(&it.cert);
        let key = self.content(&it.key);
        let ocsp = match &it.ocsp {
            Some(path) => Some(self.content(path)?),
            None => None,
        };
        let certified = match Certified::new(chain?, key?, ocsp) {
            Ok(certified) => certified,
            Err(CertifiedError::Certificate(why)) => {
                let cure =
                    "the certificate itself comes first, in PEM: -----BEGIN CERTIFICATE-----";
                self.refuse(&it.cert, &why, cure);
                return None;
            }
            Err(CertifiedError::Key(why)) => {
                let cure = "the key is in PEM, without a password: -----BEGIN PRIVATE KEY-----";
                self.refuse(&it.key, &why, cure);
                return None;
            }
            Err(CertifiedError::Pair) => {
                let what = format!("the key of certificate `{}` belongs to another one", **name);
                let cert = format!("the key of {}", it.cert.shown());
                let mistake = self.model.mistake(it.key.span, what).because(format!("not {cert}"));
                let cure = "write the files of one pair; when they are replaced, both are";
                self.errors.push(mistake.cured_by(cure));
                return None;
            }
        };
        let der = certified.chain().next().unwrap_or_default();
        let Ok((_, parsed)) = X509Certificate::from_der(der) else {
            self.refuse(&it.cert, "it is malformed", "issue it again");
            return None;
        };
        let names = names(&parsed);
        let expires = parsed.validity().not_after.timestamp();
        let shown = it.cert.shown();
        let left = expires - self.now;
        if left < 0 {
            let what = format!("{shown} has expired {}", ago(left.saturating_neg()));
            self.warn(&it.cert, what, "clients refuse it: renew it");
        } else if u64::try_from(left).is_ok_and(|left| left < SOON.as_secs()) {
            let what = format!("{shown} expires in {}", span(left));
            self.warn(&it.cert, what, "renew it");
        }
        let begins = parsed.validity().not_before.timestamp();
        if begins > self.now {
            let what = format!("{shown} is not valid for another {}", span(begins - self.now));
            self.warn(&it.cert, what, "is the clock of this host right?");
        }
        if names.is_empty() {
            let what = format!("{shown} has no host name");
            let cure = "clients look for names of the kind subjectAltName alone: issue it with one";
            self.warn(&it.cert, what, cure);
        }
        Some(Read { certified, names, expires: u64::try_from(expires).unwrap_or(0) })
    }

    fn listener(
        &mut self,
        tls: &ListenerTls,
        certificates: &HashMap<&str, Read>,
    ) -> Option<ServerTls> {
        let verifier = self.verifier(tls);
        let chosen: Option<Vec<_>> = tls
            .certificates
            .iter()
            .map(|name| certificates.get(name.as_str()))
            .map(|it| it.map(|it| (it.names.clone(), it.certified.clone())))
            .collect();
        let (verifier, group) = verifier?;
        let tickets = self.tickets_of(group, tls)?;
        let settings = ServerSettings {
            certificates: chosen?,
            only_tls13: tls.policy == TlsPolicy::Modern,
            strict_sni: tls.strict_sni,
            client_verifier: verifier,
            tickets,
            logs_keys: logs_keys(),
        };
        match ServerTls::new(settings) {
            Ok(made) => Some(made),
            Err(why) => {
                let what = format!("this TLS cannot be used: {why}");
                self.errors.push(self.model.mistake(tls.certificates.span, what));
                None
            }
        }
    }

    /// The verifier of client certificates, if they are asked for, and a number that is the same for
    /// all listeners that check alike.
    fn verifier(&mut self, tls: &ListenerTls) -> Option<(Option<ClientVerifier>, u64)> {
        let Some(authorities) = &tls.client_ca else { return Some((None, 0)) };
        if tls.client_auth == ClientAuth::Off {
            return Some((None, 0));
        }
        let revoked = match &tls.client_crl {
            Some(path) => Some(self.content(path)?),
            None => None,
        };
        let wanted = ClientCertificates {
            required: tls.client_auth == ClientAuth::Required,
            authorities: self.content(authorities)?,
            revoked,
        };
        let mut group = DefaultHasher::new();
        (wanted.required, wanted.authorities, wanted.revoked).hash(&mut group);
        match ClientVerifier::new(wanted) {
            Ok(verifier) => Some((Some(verifier), group.finish())),
            Err(ClientCertificatesError::Authorities(why)) => {
                self.refuse(authorities, &why, "write certificates of authorities in PEM");
                None
            }
            Err(ClientCertificatesError::Revoked(why)) => {
                let path = tls.client_crl.as_ref().unwrap_or(authorities);
                self.refuse(path, &why, "write lists of revoked certificates in PEM");
                None
            }
        }
    }

    /// The TLS towards the endpoints of an upstream; that of the version before, if it is the same.
    fn upstream(
        &mut self,
        name: &str,
        tls: &UpstreamTls,
        certificates: &HashMap<&str, Read>,
    ) -> Option<Arc<ClientTls>> {
        let model = self.model;
        let upstreams = &model.document.upstreams.objects;
        let (_, written) = upstreams.iter().find(|(it, _)| &***it == name)?;
        let server_name = match &tls.server_name {
            Some(name) => Some(name.as_str()),
            None => self.common_name(name, &written.endpoints)?,
        };
        let system;
        let roots = match &tls.ca {
            _ if !*tls.verify => {
                let what = format!("the certificates of upstream `{name}` are not checked");
                let mistake = model.mistake(tls.verify.span, what);
                let cure = "leave `verify` out, and name the authority in `ca`";
                let why = "anybody may stand in between";
                self.warnings.push(mistake.because(why).cured_by(cure).warning());
                Roots::Anybody
            }
            Some(path) => Roots::Pem(self.content(path)?),
            None => {
                system = system_roots();
                Roots::System(&system)
            }
        };
        let certificate = match &tls.client_certificate {
            // One that cannot be read has been reported.
            Some(name) => Some(certificates.get(name.as_str())?.certified.clone()),
            None => None,
        };
        let mut key = DefaultHasher::new();
        (server_name, *tls.verify).hash(&mut key);
        match roots {
            Roots::Pem(pem) => pem.hash(&mut key),
            Roots::System(system) => system.hash(&mut key),
            Roots::Anybody => {}
        }
        certificate.iter().flat_map(Certified::chain).for_each(|it| it.hash(&mut key));
        let key = key.finish();
        let known = self.clients.get(&key).or_else(|| self.before?.clients.get(&key));
        if let Some(known) = known.map(Arc::clone) {
            self.clients.insert(key, Arc::clone(&known));
            return Some(known);
        }
        let settings = ClientSettings { server_name, roots, certificate, logs_keys: logs_keys() };
        match ClientTls::new(settings) {
            Ok(made) => {
                let made = Arc::new(made);
                self.clients.insert(key, Arc::clone(&made));
                Some(made)
            }
            Err(ClientTlsError::Roots(why)) => {
                match &tls.ca {
                    Some(path) => {
                        self.refuse(path, &why, "write certificates of authorities in PEM");
                    }
                    None => {
                        let mistake = model.mistake(written.endpoints.span, why);
                        let cure = "install them (ca-certificates), or name a file in `tls.ca`";
                        self.errors.push(mistake.cured_by(cure));
                    }
                }
                None
            }
            Err(ClientTlsError::Name) => {
                let span = tls.server_name.as_ref().map_or(written.endpoints.span, |it| it.span);
                let shown = tls.server_name.as_ref().map(Spanned::shown).unwrap_or_default();
                let what = format!("\"{shown}\" is not the name of a host");
                let cure = "write a name such as \"users.internal\", or an IP address";
                self.errors.push(model.mistake(span, what).cured_by(cure));
                None
            }
            Err(ClientTlsError::Other(why)) => {
                let what = format!("this TLS cannot be used: {why}");
                self.errors.push(model.mistake(written.endpoints.span, what));
                None
            }
        }
    }

    /// The name that all endpoints have, if they have one; `Some(None)` where they have addresses.
    /// `None` after a mistake: the certificate must have some name.
    fn common_name(
        &mut self,
        upstream: &str,
        endpoints: &'a Spanned<Vec<Spanned<Endpoint>>>,
    ) -> Option<Option<&'a str>> {
        let mut names = endpoints.iter().map(|it| match &it.address {
            AddressOrName::Place(address) => address.ip().map(|_| None),
            AddressOrName::Name(DnsName::Host { host, .. }) => Some(Some(&**host)),
            AddressOrName::Name(DnsName::Service(_)) => None,
        });
        let first = names.next().flatten();
        if let Some(first) = first
            && names.all(|it| it == Some(first))
        {
            return Some(first);
        }
        let what = format!("upstream `{upstream}` does not say which name its certificates have");
        let mistake = self.model.mistake(endpoints.span, what);
        let cure = "add tls.server_name = \"users.internal\"";
        self.errors.push(mistake.because("not one name for all").cured_by(cure));
        None
    }

    /// The keys of tickets for listeners that check clients alike; those of the version before, where
    /// it has some.
    fn tickets_of(&mut self, group: u64, tls: &ListenerTls) -> Option<Tickets> {
        let known = self.tickets.get(&group);
        let known = known.or_else(|| self.before?.tickets.get(&group)).cloned();
        let made = known.map_or_else(Tickets::new, Ok);
        match made {
            Ok(tickets) => {
                self.tickets.insert(group, tickets.clone());
                Some(tickets)
            }
            Err(why) => {
                let what = format!("cannot make keys for tickets: {why}");
                self.errors.push(self.model.mistake(tls.certificates.span, what));
                None
            }
        }
    }
}

/// Whether `SSLKEYLOGFILE` asks for the keys of connections.
pub(crate) fn logs_keys() -> bool {
    std::env::var_os("SSLKEYLOGFILE").is_some_and(|it| !it.is_empty())
}

/// The certificates of the authorities that this system trusts, in DER. Reads them from disk.
fn system_roots() -> Vec<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    found.certs.into_iter().map(|it| it.to_vec()).collect()
}

/// The host names in a certificate.
fn names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.iter().flat_map(|it| &it.value.general_names);
    let mut names: Vec<Box<str>> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
            _ => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A span of time, in days or hours.
fn span(seconds: i64) -> String {
    match seconds / 3600 {
        hours @ 48.. => format!("{} days", hours / 24),
        1 => "1 hour".to_owned(),
        hours => format!("{hours} hours"),
    }
}

fn ago(seconds: i64) -> String {
    format!("{} ago", span(seconds))
}
