//! The course of a handshake, on either side: records come in, records go out, until it is done.

use engine::stage::Stage;
use engine::time::Instant;

use super::session::{Intake, Outgoing, Session};
use super::stream::TlsStream;
use super::turns::Turns;
use crate::failure::{Failure, Kind};
use crate::net::Net;
use crate::net::buffer::{Buf, BufferPool, HEADROOM, Size, TAILROOM};
use crate::side::empty;
use crate::wire::Wire;

/// The most bytes of a flight: a chain of certificates with room to spare. More is held for nobody.
const FLIGHT_BYTES_MAX: usize = 64 << 10;

/// Why a handshake ended without success.
pub(crate) enum HandshakeEnd {
    /// It took too long.
    Timeout,
    /// The peer has closed the connection, or broken it off.
    Closed,
    /// One side refuses the other.
    Refused(rustls::Error),
    /// A flight is longer than any that we know.
    TooLong,
}

/// A handshake under way.
struct Course<'b> {
    session: Session,
    input: Option<Buf>,
    out: Outgoing<'b>,
    plain: Option<Buf>,
}

/// Does a handshake of `session` on `stream`, which `wire` reads and writes, until `give_up_at`.
/// `input` holds records that are here already. Afterwards the stream is open.
pub(crate) async fn run<N: Net>(
    mut wire: Wire<'_, N>,
    stream: &TlsStream<N::Stream>,
    session: Session,
    input: Option<Buf>,
    turns: &Turns,
    give_up_at: Instant,
) -> Result<(), HandshakeEnd> {
    let out = Outgoing::new(wire.buffers, None);
    let mut course = Course { session, input, out, plain: None };
    let closed = loop {
        let intake = turns.run(wire.net, || course.step(wire.buffers)).await;
        // A peer may end behind its last message.
        let closed = matches!(intake, Ok(Intake::PeerClosed));
        let done =
            (closed || matches!(intake, Ok(Intake::Nothing))) && !course.session.is_handshaking();
        let left = give_up_at.micros_since(wire.net.now());
        (wire.read_micros, wire.write_micros) = (left, left.max(1));
        // A ticket waits for the response to a request that is here already, and leaves with it.
        let waits = done && (course.plain.is_some() || course.has_input());
        if !waits && let Some(records) = course.out.records.take() {
            let (written, _) = wire.write(Stage::Handshake, records).await;
            // A client that has gone behind its last message is noticed by the next read.
            if intake.is_ok() && !done && written.is_err() {
                return Err(end_of(written));
            }
        }
        match intake {
            Ok(_) if done => break closed,
            Ok(Intake::Records) => {}
            Ok(_) => return Err(HandshakeEnd::Closed),
            Err(error) => return Err(HandshakeEnd::Refused(error)),
        }
        let buf = match course.input.take() {
            Some(buf) if buf.len() >= FLIGHT_BYTES_MAX => return Err(HandshakeEnd::TooLong),
            Some(buf) if !buf.is_empty() && buf.room() == 0 => {
                let bytes = HEADROOM + buf.len() * 2 + TAILROOM;
                buf.grown(bytes)
            }
            Some(buf) if !buf.is_empty() => buf,
            _ => empty(wire.buffers, Size::Small),
        };
        if wire.read_micros == 0 {
            return Err(HandshakeEnd::Timeout);
        }
        let (read, buf) = wire.read(Stage::Handshake, buf).await;
        course.input = Some(buf);
        match read {
            Ok(n) if n > 0 => {}
            read => return Err(end_of(read.map(drop))),
        }
    };
    let Course { session, input, out, plain } = course;
    stream.open(session, input, plain, out.records);
    if closed {
        stream.peer_has_closed();
    }
    Ok(())
}

/// Why a read or a write ends the handshake.
fn end_of(result: Result<(), Failure>) -> HandshakeEnd {
    match result {
        Err(Failure { kind: Kind::Timeout | Kind::TotalTimeout, .. }) => HandshakeEnd::Timeout,
        _ => HandshakeEnd::Closed,
    }
}

impl Course<'_> {
    fn has_input(&self) -> bool {
        self.input.as_ref().is_some_and(|buf| !buf.is_empty())
    }

    /// Takes in the records that are here.
    fn step(&mut self, buffers: &BufferPool) -> Result<Intake, rustls::Error> {
        let Self { session, input, out, plain } = self;
        loop {
            let mut keep = |bytes: &[u8]| {
                let len = plain.as_ref().map_or(0, Buf::len);
                let wanted = HEADROOM + len + bytes.len() + TAILROOM;
                let mut buf = match plain.take() {
                    Some(buf) if buf.room() >= bytes.len() => buf,
                    Some(buf) => buf.grown(wanted),
                    None => {
                        let mut buf = buffers.take_at_least(wanted);
                        buf.clear(HEADROOM);
                        buf
                    }
                };
                let _ = buf.append(bytes);
                *plain = Some(buf);
            };
            match session.take_in(input, out, &mut keep)? {
                Intake::Plain => {}
                intake => return Ok(intake),
            }
        }
    }
}
