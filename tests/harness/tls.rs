//! TLS for tests: an authority that issues certificates, and a client that speaks TLS to the gateway
//! while the test speaks to it in clear.
//!
//! A [`TlsClient`] gives a [`Client`] like any other. A thread stands between the two: bytes that the
//! test sends go to the gateway in records, and the other way round. The gateway's `close_notify`
//! shows as the end of the connection. An end without it shows as a reset, since that is what it
//! means.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SanType,
};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
pub(crate) use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SupportedProtocolVersion,
};
use socket2::SockRef;
use tempfile::TempDir;

use super::PATIENCE;
use super::client::Client;

/// Issues certificates. Dropping it removes their files.
pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Two authorities of one name would be told apart by their signatures alone.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    /// The file of its own certificate.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for these names, in PEM, and its key. `ecdsa`: the kind of key, else RSA.
    pub(crate) fn issue(&self, names: &[&str], ecdsa: bool) -> (String, String) {
        self.issue_with(names, ecdsa, false)
    }

    /// A certificate that has expired.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> (String, String) {
        self.issue_with(names, true, true)
    }

    fn issue_with(&self, names: &[&str], ecdsa: bool, expired: bool) -> (String, String) {
        let algorithm = if ecdsa { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_RSA_SHA256 };
        let key = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let name = |name: &&str| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().unwrap()),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        if expired {
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a certificate to `NAME.pem` and `NAME.key`, and says how a configuration names it.
    pub(crate) fn certificate(&self, name: &str, names: &[&str]) -> String {
        self.write(name, &self.issue(names, true));
        self.section(name)
    }

    /// Writes the files of a certificate anew.
    pub(crate) fn write(&self, name: &str, (certificate, key): &(String, String)) {
        for (ending, text) in [("pem", certificate), ("key", key)] {
            std::fs::write(self.folder.path().join(format!("{name}.{ending}")), text).unwrap();
        }
    }

    /// The section of a certificate whose files are written.
    pub(crate) fn section(&self, name: &str) -> String {
        let at = self.folder.path().join(name);
        let at = at.display();
        format!("[certificates.{name}]\ncert = \"{at}.pem\"\nkey = \"{at}.key\"\n")
    }

    /// A client that trusts this authority and asks for `name`.
    pub(crate) fn client(&self, name: &str) -> TlsClient {
        TlsClient::new(self.roots(), name, &[&TLS13, &TLS12])
    }

    /// The same, of one version of TLS.
    pub(crate) fn client_of(
        &self,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> TlsClient {
        TlsClient::new(self.roots(), name, &[version])
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

/// Makes connections to the gateway.
pub(crate) struct TlsClient {
    config: ClientConfig,
    name: ServerName<'static>,
}

/// How the handshake of a connection went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) is_tls13: bool,
    pub(crate) resumed: bool,
    pub(crate) alpn: Option<Vec<u8>>,
    /// The certificate of the gateway, in DER.
    pub(crate) certificate: Vec<u8>,
}

impl TlsClient {
    fn new(
        roots: RootCertStore,
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap())
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(16);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config, name: ServerName::try_from(name.to_owned()).unwrap() }
    }

    /// Shows this certificate, in PEM, when it is asked for one.
    pub(crate) fn showing(mut self, (certificate, key): &(String, String)) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::clone(self.config.crypto_provider());
        let certified = rustls::sign::CertifiedKey::from_der(chain, key, &provider).unwrap();
        let resolver = rustls::sign::SingleCertAndKey::from(certified);
        self.config.client_auth_cert_resolver = Arc::new(resolver);
        self
    }

    /// Offers these protocols in place of HTTP/1.1.
    pub(crate) fn offering(mut self, protocols: &[&[u8]]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        self
    }

    /// Asks for no name.
    pub(crate) fn nameless(mut self) -> Self {
        self.config.enable_sni = false;
        self
    }

    /// Connects, and does the handshake.
    #[track_caller]
    pub(crate) fn connect(&self, gateway: SocketAddr) -> (Client, Session) {
        self.try_connect(gateway).expect("the handshake succeeds")
    }

    /// The same, where the handshake may fail. The gateway's part is done when this returns.
    pub(crate) fn try_connect(&self, gateway: SocketAddr) -> io::Result<(Client, Session)> {
        let stream = TcpStream::connect_timeout(&gateway, PATIENCE)?;
        self.try_on(stream)
    }

    /// Does the handshake on a connection that was made already.
    pub(crate) fn try_on(&self, mut stream: TcpStream) -> io::Result<(Client, Session)> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let config = Arc::new(self.config.clone());
        let mut connection = ClientConnection::new(config, self.name.clone())
            .map_err(|error| io::Error::other(error.to_string()))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let certificates = connection.peer_certificates().unwrap_or_default();
        let session = Session {
            is_tls13: connection.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            certificate: certificates.first().map(|it| it.to_vec()).unwrap_or_default(),
        };
        // The pump waits for as long as the test does.
        stream.set_read_timeout(None)?;
        let (near, far) = pair();
        pump(connection.into(), stream, far);
        Ok((Client::on(near), session))
    }
}

/// Speaks TLS to the gateway in front of an endpoint that does not. Dropping it ends it.
pub(crate) struct TlsServer {
    address: SocketAddr,
    /// For each handshake that succeeded: whether it resumed a session, and whether the gateway
    /// showed a certificate.
    sessions: Arc<Mutex<Vec<(bool, bool)>>>,
    stop: Arc<AtomicBool>,
}

impl TlsServer {
    /// In front of the endpoint at `endpoint`, with this certificate and key in PEM. Where
    /// `clients` is one, the gateway must show a certificate that it has issued.
    pub(crate) fn start(
        endpoint: SocketAddr,
        (certificate, key): &(String, String),
        clients: Option<&Authority>,
    ) -> Self {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
            None => builder.with_no_client_auth(),
        };
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sessions = Arc::<Mutex<Vec<_>>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (done, stopping) = (Arc::clone(&sessions), Arc::clone(&stop));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                if stopping.load(Ordering::SeqCst) {
                    return;
                }
                let (config, done) = (Arc::clone(&config), Arc::clone(&done));
                thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    let mut connection = ServerConnection::new(config).unwrap();
                    while connection.is_handshaking() {
                        if connection.complete_io(&mut stream).is_err() {
                            return;
                        }
                    }
                    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
                    let shown = connection.peer_certificates().is_some();
                    done.lock().unwrap().push((resumed, shown));
                    let clear = TcpStream::connect(endpoint).unwrap();
                    clear.set_nodelay(true).unwrap();
                    pump(connection.into(), stream, clear);
                });
            }
        });
        Self { address, sessions, stop }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn sessions(&self) -> Vec<(bool, bool)> {
        self.sessions.lock().unwrap().clone()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Two ends of a TCP connection: others know no reset.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_nodelay(true).unwrap();
    (near, far)
}

/// Makes the last close of this connection a reset, and wakes the thread that reads from it.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Read);
}

/// Moves bytes between a connection with TLS and one without, until both have ended.
fn pump(connection: Connection, stream: TcpStream, clear: TcpStream) {
    let connection = Arc::new(Mutex::new(connection));
    let (mut from_test, mut to_gateway) = (clear.try_clone().unwrap(), stream.try_clone().unwrap());
    let outgoing = Arc::clone(&connection);
    // The gateway has broken off.
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    thread::spawn(move || {
        let mut buf = vec![0; 64 << 10];
        loop {
            let read = from_test.read(&mut buf);
            if is_broken.load(Ordering::SeqCst) {
                return;
            }
            let mut connection = outgoing.lock().unwrap();
            match read {
                Ok(0) => connection.send_close_notify(),
                Ok(n) => connection.writer().write_all(&buf[..n]).unwrap(),
                Err(_) => {
                    // The test has reset its connection.
                    drop(connection);
                    reset(&to_gateway);
                    return;
                }
            }
            let sent = send(&mut connection, &mut to_gateway);
            drop(connection);
            if sent.is_err() {
                return;
            }
            if matches!(read, Ok(0)) {
                let _ = to_gateway.shutdown(Shutdown::Write);
                return;
            }
        }
    });
    thread::spawn(move || {
        let (mut stream, mut clear) = (stream, clear);
        let mut buf = vec![0; 64 << 10];
        // Bytes may have come with the end of the handshake.
        let _ = clear.write_all(&plain_bytes(&mut connection.lock().unwrap()));
        let is_clean = loop {
            let Ok(n) = stream.read(&mut buf) else { break false };
            let mut bytes = &buf[..n];
            let mut plain = Vec::new();
            let mut closed = false;
            let mut connection = connection.lock().unwrap();
            while !bytes.is_empty() {
                if connection.read_tls(&mut bytes).is_err() {
                    break;
                }
                let Ok(state) = connection.process_new_packets() else { break };
                plain.extend(plain_bytes(&mut connection));
                closed |= state.peer_has_closed();
                if closed {
                    break;
                }
            }
            let _ = send(&mut connection, &mut stream);
            drop(connection);
            if clear.write_all(&plain).is_err() {
                break false;
            }
            if closed || n == 0 {
                break closed;
            }
        };
        if is_clean {
            let _ = clear.shutdown(Shutdown::Write);
        } else {
            broken.store(true, Ordering::SeqCst);
            reset(&clear);
        }
    });
}

/// The bytes that have come and were not taken yet.
fn plain_bytes(connection: &mut Connection) -> Vec<u8> {
    let state = connection.process_new_packets();
    let mut bytes = vec![0; state.map_or(0, |it| it.plaintext_bytes_to_read())];
    connection.reader().read_exact(&mut bytes).unwrap();
    bytes
}

fn send(connection: &mut Connection, stream: &mut TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(stream)?;
    }
    Ok(())
}
