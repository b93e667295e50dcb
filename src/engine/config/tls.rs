//! `tls` of a listener and of an upstream.

use crate::keys::{FilePath, KeyRule, Spanned, section, words};

section! {
    /// TLS towards clients. Absent: clients speak without TLS.
    #[derive(Eq)]
    pub ListenerTls {
        /// The names of certificates in `[certificates]`. A client gets the one that has the name
        /// it asks for (SNI), exactly or by a wildcard; of several, the first one whose kind of key
        /// it knows, ECDSA before RSA. A client that asks for another name, or for none, gets the
        /// first in this list.
        certificates: Spanned<Vec<Spanned<String>>> => KeyRule::required("[\"site\"]");
        /// Which clients can connect. "modern" is TLS 1.3 alone: all browsers since 2020.
        /// "intermediate" is TLS 1.3, and 1.2 with forward secrecy and authenticated encryption:
        /// nearly every client since 2014. Both offer the key exchange X25519MLKEM768, which a
        /// quantum computer does not break.
        policy: TlsPolicy => KeyRule::default(TlsPolicy::Intermediate);
        /// A client that asks for a name that no certificate has, or for none, is refused, and does
        /// not get the first certificate.
        strict_sni: bool => KeyRule::default(false);
        /// Whether clients show a certificate of their own.
        client_auth: ClientAuth => KeyRule::default(ClientAuth::Off).example("\"required\"");
        /// The authorities whose client certificates are accepted, in PEM.
        client_ca: Option<Spanned<FilePath>> => KeyRule::optional("\"certs/clients.pem\"");
        /// Certificates that the authorities have revoked: lists (CRL) in PEM. Checked for a client's
        /// certificate and its issuers. A certificate whose authority has no list here is accepted.
        client_crl: Option<Spanned<FilePath>> => KeyRule::optional("\"certs/clients.crl\"");
    }
}

section! {
    /// TLS towards endpoints. Absent: without TLS. `tls = {}` has the defaults.
    #[derive(Eq)]
    pub settings UpstreamTls {
        /// The name that we ask the endpoints for (SNI) and that their certificates must have. Absent:
        /// the name of the endpoints, if all of them have the same one, or the address of each.
        server_name: Option<Spanned<String>> => KeyRule::optional("\"users.internal\"");
        /// The authorities that may issue the certificates of endpoints, in PEM. Absent: those that
        /// this system trusts.
        ca: Option<Spanned<FilePath>> => KeyRule::optional("\"certs/internal-ca.pem\"");
        /// The name of the certificate in `[certificates]` that endpoints get which ask for one.
        client_certificate: Option<Spanned<String>> => KeyRule::optional("\"site\"");
        /// Whether the certificates of endpoints are checked. Without that, whoever can redirect a
        /// connection reads and changes everything.
        verify: Spanned<bool> => KeyRule::default(Spanned::unwritten(true));
    }
}

words! {
    /// Versions and ciphers of TLS, as Mozilla recommends them.
    pub enum TlsPolicy {
        /// TLS 1.3.
        Modern = "modern",
        /// TLS 1.2 and 1.3.
        #[default]
        Intermediate = "intermediate",
    }
}

words! {
    /// Whether clients show a certificate.
    pub enum ClientAuth {
        /// They are not asked for one.
        #[default]
        Off = "off",
        /// They are asked for one. One that is shown must be valid.
        Optional = "optional",
        /// They must show a valid one.
        Required = "required",
    }
}
