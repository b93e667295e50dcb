//! Counts of TLS handshakes with the clients of a listener.

use super::metric::{Counter, metrics};
use crate::conn::tls::HandshakeFailure;
use crate::tls::session::{TlsInfo, TlsVersion};

metrics! {
    /// The handshakes of a listener, in cells.
    pub cells TlsTally;
    /// The handshakes of a listener.
    pub numbers TlsCounts;
    pub rows TLS;

    "ringway_tls_handshakes_total" by Listener
    "TLS handshakes with clients, by how they ended; of those that succeeded, by version and by whether they resumed an earlier session. plain_http: the client spoke HTTP without TLS; not_tls: something else; name: no certificate has the name that it asked for; cipher: nothing in common; refused: the client refused us, mostly because it does not trust the certificate; protocol: it broke the protocol" {
        full_12 [result = "ok", version = "1.2", resumed = "no"],
        resumed_12 [result = "ok", version = "1.2", resumed = "yes"],
        full_13 [result = "ok", version = "1.3", resumed = "no"],
        resumed_13 [result = "ok", version = "1.3", resumed = "yes"],
        plain_http [result = "plain_http", version = "", resumed = ""],
        not_tls [result = "not_tls", version = "", resumed = ""],
        timeout [result = "timeout", version = "", resumed = ""],
        closed [result = "closed", version = "", resumed = ""],
        name [result = "name", version = "", resumed = ""],
        version [result = "version", version = "", resumed = ""],
        cipher [result = "cipher", version = "", resumed = ""],
        client_certificate [result = "client_certificate", version = "", resumed = ""],
        refused [result = "refused", version = "", resumed = ""],
        protocol [result = "protocol", version = "", resumed = ""],
    }
}

impl TlsTally {
    /// Counts a handshake that succeeded.
    pub fn succeeded(&self, info: TlsInfo) {
        let counter = match (info.version, info.resumed) {
            (TlsVersion::Tls12, false) => &self.full_12,
            (TlsVersion::Tls12, true) => &self.resumed_12,
            (TlsVersion::Tls13, false) => &self.full_13,
            (TlsVersion::Tls13, true) => &self.resumed_13,
        };
        counter.add(1);
    }

    /// Counts a handshake that failed.
    pub fn failed(&self, failure: HandshakeFailure) {
        self.of(failure).add(1);
    }

    const fn of(&self, failure: HandshakeFailure) -> &Counter {
        match failure {
            HandshakeFailure::PlainHttp => &self.plain_http,
            HandshakeFailure::NotTls => &self.not_tls,
            HandshakeFailure::Timeout => &self.timeout,
            HandshakeFailure::Closed => &self.closed,
            HandshakeFailure::Name => &self.name,
            HandshakeFailure::Version => &self.version,
            HandshakeFailure::Cipher => &self.cipher,
            HandshakeFailure::ClientCertificate => &self.client_certificate,
            HandshakeFailure::Refused => &self.refused,
            HandshakeFailure::Protocol => &self.protocol,
        }
    }
}
