//! The library's state for one connection, and everything that is asked of it.
//!
//! The library is [rustls], in the form without buffers of its own. It tells one state after the other;
//! [`Session`] handles each, until the library waits for something.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use crate::net::buffer::{Buf, BufferPool, HEADROOM, TAILROOM};

/// The state of the library for one connection.
pub(crate) enum Session {
    /// Towards a client.
    Server(Box<UnbufferedServerConnection>),
    /// Towards an endpoint.
    Client(Box<UnbufferedClientConnection>),
}

/// How far taking in records has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intake {
    /// The handshake waits for more records of the peer.
    Records,
    /// The handshake is done, and all records were taken in.
    Nothing,
    /// The bytes that it gave must be used; then there may be more.
    Plain,
    /// Nothing more comes from the peer: it has sent `close_notify`.
    PeerClosed,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// A handshake that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsInfo {
    /// The version.
    pub version: TlsVersion,
    /// The name of the cipher suite, as IANA lists it.
    pub cipher: &'static str,
    /// It resumed an earlier session.
    pub resumed: bool,
}

impl TlsVersion {
    /// Its name, as logs write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

/// Something to send, once the library lets us.
#[derive(Clone, Copy)]
pub(super) enum ToSend<'a> {
    Nothing,
    Bytes(&'a [u8]),
    CloseNotify,
}

/// The outcome of one call of the library.
enum Handled {
    Again,
    Done(Intake),
}

impl Session {
    /// The state that both kinds of connections have.
    fn common(&self) -> &CommonState {
        match self {
            Self::Server(connection) => connection,
            Self::Client(connection) => connection,
        }
    }

    /// How the handshake went.
    pub(super) fn handshake(&self) -> TlsInfo {
        let common = self.common();
        let version = match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => TlsVersion::Tls12,
            _ => TlsVersion::Tls13,
        };
        let cipher = common.negotiated_cipher_suite().and_then(|it| it.suite().as_str());
        // rustls names those of version 1.3 in a way of its own.
        let cipher = match cipher.unwrap_or_default() {
            "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
            "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
            "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
            cipher => cipher,
        };
        let resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        TlsInfo { version, cipher, resumed }
    }

    /// Whether both sides have agreed on this protocol (ALPN, RFC 7301).
    pub(super) fn speaks(&self, protocol: &[u8]) -> bool {
        self.common().alpn_protocol() == Some(protocol)
    }

    /// Whether the handshake goes on.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.common().is_handshaking()
    }

    /// Takes in records from the front of `input`, and removes those that are used up. Plain bytes go
    /// to `plain`; records to send are added to `out`.
    ///
    /// # Errors
    /// The peer broke the protocol, or is refused. `out` has the alert that says so.
    pub(crate) fn take_in(
        &mut self,
        input: &mut Option<Buf>,
        out: &mut Outgoing<'_>,
        plain: &mut dyn FnMut(&[u8]),
    ) -> Result<Intake, rustls::Error> {
        self.run(input, out, plain, ToSend::Nothing)
    }

    /// As [`Session::take_in`]; sends something in addition, once the handshake is done.
    pub(super) fn run(
        &mut self,
        input: &mut Option<Buf>,
        out: &mut Outgoing<'_>,
        plain: &mut dyn FnMut(&[u8]),
        to_send: ToSend<'_>,
    ) -> Result<Intake, rustls::Error> {
        loop {
            let records = input.as_mut().map(Buf::filled_mut).unwrap_or_default();
            let (used, step) = match self {
                Self::Server(it) => step(it.process_tls_records(records), out, plain, to_send),
                Self::Client(it) => step(it.process_tls_records(records), out, plain, to_send),
            };
            if let Some(buf) = input {
                buf.consume(used);
            }
            match step {
                Ok(Handled::Again) => {}
                Ok(Handled::Done(progress)) => return Ok(progress),
                Err(error) => {
                    self.collect_alert(input, out);
                    return Err(error);
                }
            }
        }
    }

    /// After an error, the alert is the next thing that the library has to send.
    fn collect_alert(&mut self, input: &mut Option<Buf>, out: &mut Outgoing<'_>) {
        // Not a call more: the library would look at the mistake again.
        while self.common().wants_write() {
            let records = input.as_mut().map(Buf::filled_mut).unwrap_or_default();
            let nobody = &mut |_: &[u8]| ();
            let nothing = ToSend::Nothing;
            let (used, step) = match self {
                Self::Server(it) => step(it.process_tls_records(records), out, nobody, nothing),
                Self::Client(it) => step(it.process_tls_records(records), out, nobody, nothing),
            };
            if let Some(buf) = input {
                buf.consume(used);
            }
            if !matches!(step, Ok(Handled::Again)) {
                return;
            }
        }
    }
}

/// Handles one state of the library. Returns the bytes of its input that are used up.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    out: &mut Outgoing<'_>,
    plain: &mut dyn FnMut(&[u8]),
    to_send: ToSend<'_>,
) -> (usize, Result<Handled, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let state = match state {
        Ok(state) => state,
        Err(error) => return (discard, Err(error)),
    };
    let step = match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            let mut failed = None;
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain(record.payload);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            failed.map_or(Ok(Handled::Done(Intake::Plain)), Err)
        }
        ConnectionState::EncodeTlsData(mut data) => {
            out.put(|room| match data.encode(room) {
                Ok(written) => Ok(written),
                Err(EncodeError::InsufficientSize(size)) => Err(Some(size)),
                Err(EncodeError::AlreadyEncoded) => Err(None),
            });
            Ok(Handled::Again)
        }
        // The records are in `out`, which is sent before anything else.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Handled::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Handled::Done(Intake::Records)),
        ConnectionState::WriteTraffic(mut traffic) => {
            let sealed = out.put(|room| {
                let sealed = match to_send {
                    ToSend::Nothing => return Ok(0),
                    ToSend::Bytes(bytes) => traffic.encrypt(bytes, room),
                    ToSend::CloseNotify => traffic.queue_close_notify(room),
                };
                sealed.map_err(|error| match error {
                    EncryptError::InsufficientSize(size) => Some(size),
                    EncryptError::EncryptExhausted => None,
                })
            });
            if sealed {
                Ok(Handled::Done(Intake::Nothing))
            } else {
                Err(rustls::Error::EncryptError)
            }
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => {
            Ok(Handled::Done(Intake::PeerClosed))
        }
        // Early data (0-RTT) is never accepted.
        _ => Err(rustls::Error::General("an unexpected state of TLS".to_owned())),
    };
    (discard, step)
}

/// Records that wait to be sent.
pub(crate) struct Outgoing<'p> {
    buffers: &'p BufferPool,
    pub(crate) records: Option<Buf>,
}

impl<'p> Outgoing<'p> {
    pub(crate) const fn new(buffers: &'p BufferPool, records: Option<Buf>) -> Self {
        Self { buffers, records }
    }

    /// Makes room for `bytes` more.
    pub(super) fn reserve(&mut self, bytes: usize) -> &mut Buf {
        let records = match self.records.take() {
            Some(records) if records.room() >= bytes => records,
            Some(records) => {
                let len = records.len();
                records.grown(HEADROOM + len + bytes + TAILROOM)
            }
            None => self.buffers.take_at_least(bytes + TAILROOM),
        };
        self.records.insert(records)
    }

    /// Adds the bytes that `write` puts into the room it is given, with more room when it asks for
    /// that. `false` when it fails for another reason.
    fn put(
        &mut self,
        mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
    ) -> bool {
        // Asked for once: then the room is as it was asked for.
        for _ in 0..2 {
            let room = self.records.as_mut().map(Buf::spare_mut).unwrap_or_default();
            match write(room) {
                Ok(0) => return true,
                Ok(written) => {
                    if let Some(records) = &mut self.records {
                        records.advance(written);
                    }
                    return true;
                }
                Err(Some(InsufficientSizeError { required_size })) => {
                    self.reserve(required_size);
                }
                Err(None) => return false,
            }
        }
        false
    }
}
