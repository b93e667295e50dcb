//! TLS towards endpoints: whom we trust, and the handshake behind a connect.

use std::fmt;
use std::sync::Arc;

use engine::address::Address;
use engine::stage::Stage;
use engine::time::Micros;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, KeyLogFile, RootCertStore,
    SignatureScheme,
};

use crate::conn::tls::{Certified, certificates, provider};
use crate::core::Core;
use crate::deadline::Deadline;
use crate::failure::{Failure, Kind, Side, TlsFailure};
use crate::net::Net;
use crate::tls::handshake::{self, HandshakeEnd};
use crate::tls::session::Session;
use crate::tls::stream::TlsStream;
use crate::transport::Transport;
use crate::wire::Wire;

/// Sessions that are remembered for resumption, by name of the endpoint.
const SESSIONS_MAX: usize = 256;

/// The authorities that an upstream trusts.
#[derive(Clone, Copy, Debug)]
pub enum Roots<'a> {
    /// Those of the system, in DER.
    System(&'a [Vec<u8>]),
    /// Those in this text, in PEM.
    Pem(&'a [u8]),
    /// Everybody: certificates are not checked.
    Anybody,
}

/// Why the settings of an upstream cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientTlsError {
    /// The authorities.
    Roots(String),
    /// The name that certificates must have.
    Name,
    /// The library refuses them.
    Other(String),
}

/// Everything that decides about handshakes with the endpoints of an upstream.
#[derive(Debug)]
pub struct ClientSettings<'a> {
    /// The name that is asked for (SNI) and that their certificates must have; without one it is the
    /// address of the endpoint.
    pub server_name: Option<&'a str>,
    /// The authorities.
    pub roots: Roots<'a>,
    /// The certificate that is shown to an endpoint that asks for one.
    pub certificate: Option<Certified>,
    /// The keys of every connection are written to the file that `SSLKEYLOGFILE` names.
    pub logs_keys: bool,
}

/// The TLS towards the endpoints of an upstream.
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Makes it.
    ///
    /// # Errors
    /// Which setting cannot be used, and why.
    pub fn new(settings: ClientSettings<'_>) -> Result<Self, ClientTlsError> {
        let name = match settings.server_name {
            Some(name) => {
                Some(ServerName::try_from(name.to_owned()).map_err(|_| ClientTlsError::Name)?)
            }
            None => None,
        };
        let other = |error: Error| ClientTlsError::Other(error.to_string());
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(other)?;
        let mut roots = RootCertStore::empty();
        let builder = match settings.roots {
            Roots::Anybody => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
            }
            Roots::System(system) => {
                let system = system.iter().map(|it| CertificateDer::from(it.clone()));
                // One that the library does not understand is no reason to trust none.
                let (added, _) = roots.add_parsable_certificates(system);
                if added == 0 {
                    let why = "this system has no certificates of authorities";
                    return Err(ClientTlsError::Roots(why.to_owned()));
                }
                builder.with_root_certificates(roots)
            }
            Roots::Pem(pem) => {
                for authority in certificates(pem).map_err(ClientTlsError::Roots)? {
                    roots.add(authority).map_err(|it| ClientTlsError::Roots(it.to_string()))?;
                }
                builder.with_root_certificates(roots)
            }
        };
        let mut config = match settings.certificate {
            Some(certified) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.key())))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if settings.logs_keys {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(Self { config: Arc::new(config), name })
    }

    /// Does the handshake on a connection to the endpoint at `address`, within `timeout`.
    pub(super) async fn secure<N: Net>(
        &self,
        core: &Core<N>,
        stream: N::Stream,
        address: &Address,
        deadline: &Deadline,
        timeout: Micros,
    ) -> Result<Transport<N>, Failure> {
        let failed = |kind| Failure::endpoint(Stage::Connect, kind);
        let refused = |failure| failed(Kind::Tls(failure));
        let name = match (&self.name, address.ip()) {
            (Some(name), _) => name.clone(),
            (None, Some(address)) => ServerName::IpAddress(IpAddr::from(address.ip())),
            (None, None) => return Err(refused(TlsFailure::Name)),
        };
        let connection = UnbufferedClientConnection::new(Arc::clone(&self.config), name);
        let connection = connection.map_err(|error| refused((&error).into()))?;
        let transport = Transport::Tls(Box::new(TlsStream::new(stream, core.buffers.clone())));
        let give_up_at = core.net.now().plus_micros(timeout.0);
        if let Transport::Tls(stream) = &transport {
            let wire = Wire {
                net: &core.net,
                buffers: &core.buffers,
                transport: &transport,
                deadline,
                side: Side::Endpoint,
                read_micros: timeout.0,
                write_micros: timeout.0,
                give_up_at,
            };
            let session = Session::Client(Box::new(connection));
            let done = handshake::run(wire, stream, session, None, &core.turns, give_up_at).await;
            done.map_err(|end| match end {
                HandshakeEnd::Timeout => failed(Kind::Timeout),
                HandshakeEnd::Closed => refused(TlsFailure::Closed),
                HandshakeEnd::TooLong => refused(TlsFailure::Protocol),
                HandshakeEnd::Refused(error) => refused((&error).into()),
            })?;
        }
        Ok(transport)
    }
}

impl From<&Error> for TlsFailure {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Self::Expired,
            Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::Name,
            Error::InvalidCertificate(CertificateError::UnknownIssuer) => Self::Issuer,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => Self::Certificate,
            Error::AlertReceived(_) => Self::Refused,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            _ => Self::Protocol,
        }
    }
}

/// Checks nothing but that the endpoint has the key of its certificate.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
