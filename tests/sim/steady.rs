//! The steady state: clients that ask and ask again on connections that stay.

use std::rc::Rc;

use engine::address::Address;
use engine::time::Instant;
use worker::net::Net;
use worker::net::sim::{Faults, Sim, SimNet};
use worker::telemetry::record::RECORDS_MAX;

use super::endpoint::Behaviour;
use super::http::{Event, Length, Parser};
use super::model::{Plan, ShadowModel};
use super::testbed::Testbed;
use super::tools::{ReadResult, TestStream, sleep};

/// Clients; few, so that connections opened at the start are few beside requests.
const CLIENTS: usize = 4;
/// Requests of each.
const REQUESTS: usize = 2_500;

/// Asks for `ids`, one after another, 5 ms apart.
async fn ask(model: Rc<ShadowModel>, net: SimNet, to: Address, ids: std::ops::Range<usize>) {
    let stream = net.connect(to).await.unwrap();
    let wire = TestStream::new(net, stream, model.buffers.clone());
    let mut parser = Parser::new();
    for id in ids {
        let request = format!("GET /{id}?q HTTP/1.1\r\nHost: sim\r\nx-id: {id}\r\n\r\n");
        wire.write(request.as_bytes()).await.unwrap();
        loop {
            match parser.next().unwrap() {
                Some(Event::Head(head)) => {
                    assert_eq!(head.only("x-id"), Some(id.to_string().as_str()));
                    parser.expect(head.length(Length::None).unwrap());
                }
                Some(Event::Data(data)) => assert_eq!(data, model.download(id)),
                Some(Event::End) => break,
                None => match wire.read(10_000_000).await {
                    ReadResult::Bytes(buf) => parser.feed(buf.filled()),
                    ReadResult::End | ReadResult::Nothing => panic!("the gateway fell silent"),
                },
            }
        }
        sleep(&wire.net, 5_000).await;
    }
    model.clients.set(model.clients.get() - 1);
    model.bell.ring();
}

#[test]
fn steady_requests_reuse_connections_and_set_no_timers() {
    let sim = Sim::new(1, Faults::none());
    let requests = CLIENTS * REQUESTS;
    let model = ShadowModel::new(1, vec![Plan::get(100); requests]);
    model.clients.set(CLIENTS);
    let testbed = Testbed::new(sim, Rc::clone(&model), &[Behaviour::PLAIN; 2]);
    for client in 0..CLIENTS {
        let net = testbed.sim.net();
        let ids = client * REQUESTS..(client + 1) * REQUESTS;
        net.spawn(ask(Rc::clone(&model), net.clone(), testbed.web.clone(), ids));
    }
    testbed.wait();
    let totals = testbed.worker.totals();
    let seconds = testbed.sim.now().micros_since(Instant(0)) / 1_000_000;
    eprintln!("{totals}; {seconds} s of virtual time");
    assert_eq!(totals.requests, requests as u64);
    assert_eq!(totals.replies + totals.broken + totals.retries, 0);
    let sends = totals.endpoint_opened + totals.endpoint_reused;
    assert!(totals.endpoint_opened * 1_000 <= sends, "fewer than 99.9 % reused: {totals}");
    // The wheel looks at each client's deadline, and at the sweep's, twice a second.
    let looks = 2 * (CLIENTS as u64 + 1) * (seconds + 1);
    assert!(totals.timers <= looks, "{totals} in {seconds} s");
    assert!(totals.timers * 50 < totals.requests, "{totals}");
    // Once a second counts and records are sent; beyond that, full batches of records.
    let batches = totals.requests / RECORDS_MAX as u64;
    let messages = model.messages.get();
    assert!(messages <= 2 * (seconds + 1) + batches, "{messages} messages in {seconds} s");
    // The model counts only the responses of its own clients.
    model.answered.set(totals.requests);
    model.begun.set(totals.requests);
    let ended = testbed.finish(None, false);
    assert_eq!(ended.violations(), None);
}
