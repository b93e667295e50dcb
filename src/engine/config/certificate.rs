//! `[certificates.NAME]`: a certificate with its key, for listeners with TLS and for endpoints that
//! ask for one.

use crate::keys::{FilePath, KeyRule, Spanned, section};

section! {
    /// A certificate and its key. The files are watched: when they change, new handshakes use the
    /// new ones, and no connection closes. While a file is missing or does not fit, the old ones
    /// stay. `ringway certificate self-signed` makes a pair to try.
    #[derive(Eq)]
    pub Certificate {
        /// The certificate and those of its issuers up to the root, in PEM, its own first. The names
        /// in it say which clients get it.
        cert: Spanned<FilePath> => KeyRule::required("\"certs/site.pem\"");
        /// Its private key in PEM: PKCS#8, PKCS#1 or SEC1, without a password.
        key: Spanned<FilePath> => KeyRule::required("\"certs/site.key\"");
        /// An OCSP response in DER, which clients get with the certificate. Whoever fetches it
        /// replaces the file in time.
        ocsp: Option<Spanned<FilePath>> => KeyRule::optional("\"certs/site.ocsp\"");
    }
}
