//! A client's connection in HTTP/2: each stream is an exchange, in a task of its own, with its own deadlines
//! and its own wait for buffers. A panic costs that exchange alone.

mod link;
mod side;

use std::rc::Rc;

use engine::reason::Reason;
use engine::time::Instant;
use proto::h2::{ClientFrames as Protocol, ErrorCode, FrameLimits};
use proto::head::RequestHead;
use proto::violation::Violation;

use super::{Connection, WANT_OF_BUFFERS_MICROS};
use crate::exchange::{Caller, Context, Ended, Exchange, Forwarded};
use crate::net::Net;
use crate::net::buffer::Buf;
use link::{H2Link, H2Stream};
use side::H2Client;

/// Streams of a connection at once. A page of a browser asks for some 100 things at once; each stream may hold
/// a window of data that waits.
const STREAMS_MAX: u32 = 128;

/// Serves a connection that begins with the preface, which `ahead` holds, to its end. Exchanges that run on may
/// outlive this.
pub(super) async fn serve<N: Net>(connection: Connection<N>, ahead: Buf) {
    let limits = connection.listener().settings().limits;
    let limits = FrameLimits {
        streams_max: STREAMS_MAX,
        head_bytes_max: limits.head_bytes_max.in_memory(),
        headers_max: limits.headers_max as usize,
    };
    let protocol = Protocol::new(limits, connection.core().net.now().0);
    let forwarded = Rc::new(connection.forwarded());
    let link = H2Link::new(connection, protocol);
    let net = &link.connection.core().net;
    let came = |stream: H2Stream<N>, head, verdict| {
        net.spawn(exchange(stream, Rc::clone(&forwarded), head, verdict, net.now()));
    };
    link.drive(ahead, came).await;
}

async fn exchange<N: Net>(
    stream: H2Stream<N>,
    forwarded: Rc<Forwarded>,
    mut head: Box<RequestHead>,
    verdict: Result<(), Violation>,
    began: Instant,
) {
    let connection = &stream.link().connection;
    let (core, listener) = (connection.core(), connection.listener());
    let (upload, download) = (core.wheel.deadline(), core.wheel.deadline());
    while !core.buffers.has_room() {
        download.arm(core.net.now(), WANT_OF_BUFFERS_MICROS);
        download.passed().await;
        if !stream.is_open() {
            return;
        }
    }
    let settings = listener.settings();
    let target_bytes_max = settings.limits.target_bytes_max.in_memory();
    let refused = match verdict.and_then(|()| head.settle_path(settings.paths)) {
        Err(Violation::HeadTooLarge) => Some(Reason::HeadTooLarge),
        Err(violation) => Some(Reason::Violation(violation)),
        Ok(()) if head.target().len() > target_bytes_max => Some(Reason::TargetTooLong),
        Ok(()) => None,
    };
    drop(settings);
    let context = Context {
        core,
        state: &connection.open.state,
        listener,
        forwarded: &forwarded,
        upload: &upload,
        download: &download,
    };
    let peer = connection.client.get();
    let caller = match verdict {
        Ok(()) => Caller::of_request(peer, &head, listener),
        Err(_) => Caller::of_connection(peer),
    };
    let run = Exchange::new(context, caller, began);
    let mut client = H2Client::new(&context, &stream);
    let ended = match refused {
        None => run.run(&mut client, &mut head).await,
        Some(reason) => run.refuse(&mut client, &head, reason).await,
    };
    debug_assert!(ended != Ended::Switched, "no protocol switches on a stream");
    drop((client, run));
    if verdict.is_err_and(|violation| violation.status() == 400) {
        // RFC 9113 8.1.1: it is answered first, and then a stream error.
        stream.reset(ErrorCode::Protocol);
    }
    stream.put_back(head);
    // Only an answered stream is whole. Dropping it resets any other one, and an upload that goes on.
}
