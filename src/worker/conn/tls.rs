//! TLS towards clients: the certificates that they are shown, and stage 2, the handshake.
//!
//! The control thread makes a [`ServerTls`] per listener and version from files that it has read. A
//! connection takes the present one when its first bytes are here, so a new certificate holds for
//! the next handshake and closes nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use engine::reason::Reason;
use engine::stage::Stage;
use engine::time::Instant;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
    UnbufferedServerConnection, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{
    Error, KeyLogFile, PeerIncompatible, RootCertStore, ServerConfig, SignatureAlgorithm,
};

use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::{Buf, Size};
use crate::side::empty;
use crate::tls::handshake::{self, HandshakeEnd};
use crate::tls::session::Session;
use crate::tls::stream::TlsStream;
use crate::tls::turns::Turns;
use crate::wire::Wire;

/// The protocols that a client may choose (ALPN, RFC 7301), the best one first.
const PROTOCOLS: &[&[u8]] = &[H2, b"http/1.1"];

/// HTTP/2 over TLS (RFC 9113 section 3.2).
pub(super) const H2: &[u8] = b"h2";

/// The type of a record that begins a handshake (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// A certificate with its key, ready to be shown.
#[derive(Clone, Debug)]
pub struct Certified(Arc<CertifiedKey>);

/// The file that makes a certificate unusable, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertifiedError {
    /// The certificate.
    Certificate(String),
    /// The key.
    Key(String),
    /// They do not belong together.
    Pair,
}

impl Certified {
    /// A certificate from the texts of its files.
    ///
    /// # Errors
    /// Which of them cannot be used, and why.
    pub fn new(chain: &[u8], key: &[u8], ocsp: Option<&[u8]>) -> Result<Self, CertifiedError> {
        let chain = certificates(chain).map_err(CertifiedError::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            CertifiedError::Key(match error {
                rustls::pki_types::pem::Error::NoItemsFound => {
                    "it has no private key in PEM without a password".to_owned()
                }
                error => error.to_string(),
            })
        })?;
        let mut certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
                Error::InconsistentKeys(_) => CertifiedError::Pair,
                Error::InvalidCertificate(error) => {
                    CertifiedError::Certificate(format!("{error:?}"))
                }
                error => CertifiedError::Key(error.to_string()),
            })?;
        certified.ocsp = ocsp.map(<[u8]>::to_vec);
        Ok(Self(Arc::new(certified)))
    }

    /// Its certificates in DER, its own first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.0.cert.iter().map(AsRef::as_ref)
    }

    /// It, for the library.
    pub(crate) fn key(&self) -> CertifiedKey {
        CertifiedKey {
            cert: self.0.cert.clone(),
            key: Arc::clone(&self.0.key),
            ocsp: self.0.ocsp.clone(),
        }
    }

    fn is_ecdsa(&self) -> bool {
        self.0.key.algorithm() == SignatureAlgorithm::ECDSA
    }
}

/// The certificates in a text.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("it has no certificate in PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

/// The keys of tickets by which clients resume sessions. They are made at random and replaced every
/// six hours; the ones before are good for as long again. All cores share them, so a session is
/// resumed on whichever core takes the next connection.
#[derive(Clone, Debug)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, String> {
        Ticketer::new().map(Self).map_err(|error| error.to_string())
    }
}

/// How clients show certificates of their own.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificates<'a> {
    /// A client must show one.
    pub required: bool,
    /// The certificates of the authorities, in PEM.
    pub authorities: &'a [u8],
    /// Lists of revoked certificates, in PEM.
    pub revoked: Option<&'a [u8]>,
}

/// Why the files about client certificates cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificatesError {
    /// The authorities.
    Authorities(String),
    /// The lists of revoked certificates.
    Revoked(String),
}

/// The verifier of client certificates.
#[derive(Clone)]
pub struct ClientVerifier(Arc<dyn ClientCertVerifier>);

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientVerifier")
    }
}

impl ClientVerifier {
    /// A verifier with these authorities.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn new(wanted: ClientCertificates<'_>) -> Result<Self, ClientCertificatesError> {
        use ClientCertificatesError::{Authorities, Revoked};
        let mut roots = RootCertStore::empty();
        for authority in certificates(wanted.authorities).map_err(Authorities)? {
            roots.add(authority).map_err(|error| Authorities(error.to_string()))?;
        }
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        if let Some(revoked) = wanted.revoked {
            let lists: Result<Vec<_>, _> =
                CertificateRevocationListDer::pem_slice_iter(revoked).collect();
            let lists = lists.map_err(|error| Revoked(error.to_string()))?;
            if lists.is_empty() {
                return Err(Revoked("it has no list (X509 CRL) in PEM".to_owned()));
            }
            builder = builder.with_crls(lists).allow_unknown_revocation_status();
        }
        if !wanted.required {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map(Self).map_err(|error| Revoked(error.to_string()))
    }
}

/// Everything that decides about a listener's handshakes.
#[derive(Debug)]
pub struct ServerSettings {
    /// The certificates, each with the names in it, in lower case. The first one is the default.
    pub certificates: Vec<(Vec<Box<str>>, Certified)>,
    /// TLS 1.2 is refused.
    pub only_tls13: bool,
    /// A client that asks for an unknown name is refused.
    pub strict_sni: bool,
    /// Checks the certificates of clients.
    pub client_verifier: Option<ClientVerifier>,
    /// The keys of tickets. Listeners that check clients differently must not share them: a ticket
    /// lets its client in without another look.
    pub tickets: Tickets,
    /// The keys of every connection are written to the file that `SSLKEYLOGFILE` names.
    pub logs_keys: bool,
}

/// The TLS of a listener in one version.
pub struct ServerTls(Arc<ServerConfig>);

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Makes it.
    ///
    /// # Errors
    /// When the library refuses the settings.
    pub fn new(settings: ServerSettings) -> Result<Self, String> {
        let versions: &[_] = if settings.only_tls13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let builder = match settings.client_verifier {
            Some(ClientVerifier(verifier)) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let chooser = Chooser::new(settings.certificates, settings.strict_sni);
        let mut config = builder.with_cert_resolver(Arc::new(chooser));
        config.alpn_protocols = PROTOCOLS.iter().map(|it| it.to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = settings.tickets.0;
        // Each one costs some 8 microseconds, and clients make one connection after the other.
        config.send_tls13_tickets = 1;
        if settings.logs_keys {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(Self(Arc::new(config)))
    }
}

/// Everything that the gateway does with ciphers. The key exchange that withstands quantum computers
/// comes first: clients that have it get it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let kx_groups =
        vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
    Arc::new(CryptoProvider { kx_groups, ..default_provider() })
}

/// Chooses the certificate for the name that a client asks for.
#[derive(Debug)]
struct Chooser {
    /// By a whole name, and by the part of a wildcard behind its star (".example.com").
    by_name: HashMap<Box<str>, Vec<Certified>>,
    /// For all other names.
    default: Vec<Certified>,
}

impl Chooser {
    fn new(certificates: Vec<(Vec<Box<str>>, Certified)>, strict: bool) -> Self {
        let mut by_name = HashMap::<Box<str>, Vec<Certified>>::new();
        let mut default = Vec::new();
        if let Some((names, first)) = certificates.first().filter(|_| !strict) {
            default.push(first.clone());
            // The same site with another kind of key.
            let twins = certificates.iter().skip(1).filter(|(others, _)| others == names);
            default.extend(twins.map(|(_, twin)| twin.clone()));
        }
        for (names, certified) in certificates {
            for name in names {
                let key = name.strip_prefix('*').map_or(name.clone(), Into::into);
                by_name.entry(key).or_default().push(certified.clone());
            }
        }
        // A stable sort: among those of one kind the order of the configuration stays.
        by_name.values_mut().for_each(|them| them.sort_by_key(|it| !it.is_ecdsa()));
        default.sort_by_key(|it| !it.is_ecdsa());
        Self { by_name, default }
    }

    fn of_name(&self, name: &str) -> Option<&[Certified]> {
        let found = self.by_name.get(name).or_else(|| {
            // A star stands for one label (RFC 9525 section 6.3).
            let dot = name.find('.').filter(|&dot| dot > 0)?;
            self.by_name.get(name.get(dot..)?)
        });
        found.map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = client.server_name().map(str::to_ascii_lowercase);
        let named = name.as_deref().and_then(|name| self.of_name(name));
        let fits = |it: &&Certified| it.0.key.choose_scheme(client.signature_schemes()).is_some();
        let candidates = named.unwrap_or(&self.default);
        // Where no kind of key fits, the first one makes the library say so.
        candidates.iter().find(fits).or(candidates.first()).map(|it| Arc::clone(&it.0))
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The client speaks HTTP without TLS.
    PlainHttp,
    /// The client speaks something else.
    NotTls,
    /// It took too long.
    Timeout,
    /// The client closed the connection.
    Closed,
    /// No certificate has the name that the client asks for.
    Name,
    /// Client and gateway have no version of TLS in common.
    Version,
    /// They have no cipher, key exchange or signature in common.
    Cipher,
    /// The client showed no certificate, or one that is not accepted.
    ClientCertificate,
    /// The client refuses the gateway, most often because it does not trust the certificate.
    Refused,
    /// The client broke the protocol.
    Protocol,
}

impl From<&Error> for HandshakeFailure {
    fn from(error: &Error) -> Self {
        match error {
            Error::AlertReceived(_) => Self::Refused,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::Version,
            Error::PeerIncompatible(_) => Self::Cipher,
            Error::NoCertificatesPresented
            | Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_) => Self::ClientCertificate,
            // The only error of this kind in a server: no certificate was chosen.
            Error::General(_) => Self::Name,
            Error::NoApplicationProtocol => Self::Cipher,
            _ => Self::Protocol,
        }
    }
}

/// How a handshake ended that did not succeed.
pub(super) enum Unsecured {
    /// No byte came for a while.
    Nothing,
    /// The connection is to be closed.
    Failed(HandshakeFailure),
    /// The client gets a clear answer. Its first byte came then.
    Answer(Reason, Instant),
}

/// Does the handshake with a client. `wire.read_micros` is how long the first byte may take,
/// `handshake_micros` how long all of it. `ahead` holds bytes that are here already.
pub(super) async fn run<N: Net>(
    wire: Wire<'_, N>,
    stream: &TlsStream<N::Stream>,
    config: &ServerTls,
    turns: &Turns,
    ahead: Option<Buf>,
    handshake_micros: u64,
) -> Result<(), Unsecured> {
    let mut buf = ahead.unwrap_or_else(|| empty(wire.buffers, Size::Small));
    let fail = |failure| Err(Unsecured::Failed(failure));
    if buf.is_empty() {
        let read;
        (read, buf) = wire.read(Stage::Handshake, buf).await;
        match read {
            Ok(n) if n > 0 => {}
            Err(Failure { kind: Kind::Timeout, .. }) => return Err(Unsecured::Nothing),
            // A connection that ends before it has said anything is how a port is probed.
            _ => return fail(HandshakeFailure::Closed),
        }
    }
    let began = wire.net.now();
    let give_up_at = began.plus_micros(handshake_micros);
    match buf.filled().first() {
        Some(&HANDSHAKE_RECORD) => {}
        // A method.
        Some(byte) if byte.is_ascii_uppercase() => {
            return Err(Unsecured::Answer(Reason::PlainHttp, began));
        }
        _ => return fail(HandshakeFailure::NotTls),
    }
    let Ok(connection) = UnbufferedServerConnection::new(Arc::clone(&config.0)) else {
        return fail(HandshakeFailure::Protocol);
    };
    let session = Session::Server(Box::new(connection));
    let done = handshake::run(wire, stream, session, Some(buf), turns, give_up_at).await;
    done.map_err(|end| {
        Unsecured::Failed(match end {
            HandshakeEnd::Timeout => HandshakeFailure::Timeout,
            HandshakeEnd::Closed => HandshakeFailure::Closed,
            HandshakeEnd::TooLong => HandshakeFailure::Protocol,
            HandshakeEnd::Refused(error) => (&error).into(),
        })
    })
}
