//! The promises of the simulated network: TCP's rules, cancels, time, and the same run twice.

use std::cell::{Cell, RefCell};
use std::io::ErrorKind;
use std::rc::Rc;

use super::super::buffer::{Buf, BufferPool, Size};
use super::super::{Listener, Stream, StreamState};
use super::*;

const SERVER: &str = "10.1.0.1:80";

fn server() -> SocketAddr {
    SERVER.parse().unwrap()
}

fn buf(bytes: &[u8]) -> Buf {
    let mut buf = BufferPool::new(0).take_at_least(bytes.len());
    assert!(buf.append(bytes));
    buf
}

fn empty() -> Buf {
    BufferPool::new(0).take(Size::Small)
}

/// Writes all of `bytes`. An error comes with the number of bytes that were written before it.
async fn send(stream: &SimStream, bytes: &[u8]) -> Result<(), (ErrorKind, usize)> {
    let mut left = buf(bytes);
    while !left.is_empty() {
        let (written, rest) = stream.write(left).await;
        left = rest;
        written.map_err(|error| (error.kind(), bytes.len() - left.len()))?;
    }
    Ok(())
}

async fn read(stream: &SimStream) -> Result<Vec<u8>, ErrorKind> {
    let (read, buf) = stream.read(empty()).await;
    assert_eq!(read.as_ref().map_or(0, |n| *n), buf.len());
    read.map(|_| buf.filled().to_vec()).map_err(|error| error.kind())
}

/// Reads up to the end or an error.
async fn read_all(stream: &SimStream) -> (Vec<u8>, Option<ErrorKind>) {
    let mut all = Vec::new();
    loop {
        match read(stream).await {
            Ok(bytes) if bytes.is_empty() => return (all, None),
            Ok(bytes) => all.extend(bytes),
            Err(kind) => return (all, Some(kind)),
        }
    }
}

/// Reads until a line is complete.
async fn read_line(stream: &SimStream, left: &mut Vec<u8>) -> Result<Option<Vec<u8>>, ErrorKind> {
    loop {
        if let Some(at) = left.iter().position(|byte| *byte == b'\n') {
            return Ok(Some(left.drain(..=at).collect()));
        }
        let bytes = read(stream).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        left.extend(bytes);
    }
}

/// Polls `future` once, and asserts that it has to wait.
async fn pending_once(mut future: Pin<&mut impl Future>) {
    std::future::poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn sleep(net: &SimNet, micros: u64) {
    net.sleep_until(net.now().plus_micros(micros)).await;
}

/// A client's and a server's stream of one connection.
async fn pair(net: &SimNet) -> (SimStream, SimStream) {
    let listener = net.listen(server());
    let client = net.connect(server()).await.unwrap();
    let (accepted, from) = listener.accept().await.unwrap();
    assert_eq!(from, client.local_addr().into());
    (client, accepted)
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.map(|_| ()).unwrap_err().kind()
}

/// A server that sends every line back, until the client ends.
fn serve_lines(net: &SimNet, served: Rc<Cell<u32>>) {
    let listener = net.listen(server());
    let host = net.clone();
    net.spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let served = served.clone();
            host.spawn(async move {
                let mut left = Vec::new();
                while let Ok(Some(line)) = read_line(&stream, &mut left).await {
                    if send(&stream, &line).await.is_err() {
                        return;
                    }
                    served.set(served.get() + 1);
                }
            });
        }
    });
}

/// One connection with three lines; the lines that came back, and the hash of the run.
fn three_lines(seed: u64, faults: Faults) -> (Vec<Vec<u8>>, u64) {
    let sim = Sim::new(seed, faults);
    let served = Rc::new(Cell::new(0));
    serve_lines(&sim.net_named("gateway"), served.clone());
    let client = sim.net();
    let lines = sim.block_on(async {
        let mut lines = Vec::new();
        let Ok(stream) = client.connect(server()).await else { return lines };
        let mut left = Vec::new();
        for line in [&b"one\n"[..], b"twenty-two\n", b"three hundred and thirty-three\n"] {
            if send(&stream, line).await.is_err() {
                break;
            }
            match read_line(&stream, &mut left).await {
                Ok(Some(line)) => lines.push(line),
                _ => break,
            }
        }
        lines
    });
    sim.run_until_idle();
    assert_eq!((sim.open_streams(), sim.tasks()), (0, 1), "seed {seed}");
    assert_eq!((sim.dropped_operations(), sim.panics()), (0, 0), "seed {seed}");
    assert!(served.get() as usize >= lines.len(), "seed {seed}");
    (lines, sim.trace_hash())
}

#[test]
fn ten_thousand_seeds_of_three_lines_lose_nothing_without_harmful_faults() {
    for seed in 0..10_000 {
        let (lines, _) = three_lines(seed, Faults::benign());
        let lines: Vec<_> = lines.iter().map(Vec::as_slice).collect();
        let sent = [&b"one\n"[..], b"twenty-two\n", b"three hundred and thirty-three\n"];
        assert_eq!(lines, sent, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_other_seeds_give_other_runs() {
    let mut hashes = Vec::new();
    for seed in 0..300 {
        let first = three_lines(seed, Faults::drawn(seed));
        assert_eq!(first, three_lines(seed, Faults::drawn(seed)), "seed {seed}");
        hashes.push(first.1);
    }
    hashes.sort_unstable();
    hashes.dedup();
    // Two runs may be equal if few choices were drawn.
    assert!(hashes.len() > 250, "{} different runs of 300", hashes.len());
}

#[test]
fn harmful_faults_break_some_runs_and_not_others() {
    let complete = (0..500).filter(|seed| three_lines(*seed, Faults::some()).0.len() == 3).count();
    assert!((50..450).contains(&complete), "{complete} of 500 complete");
}

#[test]
fn any_split_of_a_stream_brings_the_same_bytes_back() {
    let sent: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    for seed in 0..20 {
        let sim = Sim::new(seed, Faults { capacity_bytes: 100..=9_000, ..Faults::benign() });
        let net = sim.net();
        let listener = net.listen(server());
        net.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            loop {
                let bytes = read(&stream).await.unwrap();
                if bytes.is_empty() {
                    return;
                }
                send(&stream, &bytes).await.unwrap();
            }
        });
        let came = sim.block_on(async {
            let stream = Rc::new(net.connect(server()).await.unwrap());
            let (writer, bytes) = (stream.clone(), sent.clone());
            net.spawn(async move {
                for part in bytes.chunks(30_000) {
                    send(&writer, part).await.unwrap();
                }
                writer.shutdown_write().await;
            });
            read_all(&stream).await
        });
        assert!(came == (sent.clone(), None), "seed {seed}");
        sim.run_until_idle();
        assert_eq!((sim.tasks(), sim.open_streams(), sim.panics()), (0, 0, 0));
    }
}

#[test]
fn an_end_is_read_after_the_bytes_and_leaves_the_other_direction_open() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let (client, accepted) = pair(&net).await;
        assert_eq!(accepted.state(), StreamState::Quiet);
        send(&client, b"request").await.unwrap();
        sleep(&net, 100).await;
        assert_eq!(accepted.state(), StreamState::Readable);
        client.shutdown_write().await;
        assert_eq!(send(&client, b"more").await, Err((ErrorKind::BrokenPipe, 0)));
        sleep(&net, 100).await;
        assert_eq!(accepted.state(), StreamState::HalfClosed);
        assert_eq!(read_all(&accepted).await, (b"request".to_vec(), None));
        assert_eq!(accepted.state(), StreamState::HalfClosed);
        send(&accepted, b"response").await.unwrap();
        accepted.shutdown_write().await;
        assert_eq!(accepted.state(), StreamState::Gone);
        assert_eq!(read_all(&client).await, (b"response".to_vec(), None));
    });
    assert_eq!(sim.open_streams(), 0);
}

#[test]
fn closing_with_everything_read_is_an_end_and_with_unread_bytes_a_reset() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let (client, accepted) = pair(&net).await;
        drop(accepted);
        assert_eq!(read(&client).await, Ok(vec![]));

        let (client, accepted) = pair(&net).await;
        send(&client, b"unread").await.unwrap();
        sleep(&net, 100).await;
        send(&accepted, b"response").await.unwrap();
        drop(accepted);
        sleep(&net, 100).await;
        // Linux returns the bytes that had arrived, then the error once, then the end.
        assert_eq!(client.state(), StreamState::Gone);
        assert_eq!(read(&client).await, Ok(b"response".to_vec()));
        assert_eq!(read(&client).await, Err(ErrorKind::ConnectionReset));
        assert_eq!(read(&client).await, Ok(vec![]));
        assert_eq!(send(&client, b"x").await, Err((ErrorKind::BrokenPipe, 0)));
    });
}

#[test]
fn a_write_to_a_closed_socket_is_taken_and_then_reset() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let (client, accepted) = pair(&net).await;
        drop(accepted);
        assert_eq!(send(&client, b"first").await, Ok(()));
        sleep(&net, 100).await;
        assert_eq!(client.state(), StreamState::Gone);
        assert_eq!(send(&client, b"second").await, Err((ErrorKind::BrokenPipe, 0)));
        assert_eq!(read(&client).await, Ok(vec![]));
    });
}

#[test]
fn a_reset_may_destroy_bytes_that_had_arrived_but_never_looks_like_an_end() {
    let mut kept = 0;
    for seed in 0..200 {
        let faults = Faults { seeded_choices: true, ..Faults::none() };
        let sim = Sim::new(seed, faults);
        let net = sim.net();
        let (bytes, error) = sim.block_on(async {
            let (client, accepted) = pair(&net).await;
            send(&accepted, b"half a response").await.unwrap();
            sleep(&net, 100).await;
            accepted.abort();
            drop(accepted);
            sleep(&net, 100).await;
            read_all(&client).await
        });
        assert_eq!(error, Some(ErrorKind::ConnectionReset), "seed {seed}");
        assert!(bytes.is_empty() || bytes == b"half a response", "seed {seed}");
        kept += u32::from(!bytes.is_empty());
    }
    assert!((20..180).contains(&kept), "{kept} of 200 kept the bytes");
}

#[test]
fn a_full_pipe_makes_a_write_wait_for_a_read_or_a_reset() {
    let sim = Sim::new(1, Faults { capacity_bytes: 10..=10, ..Faults::none() });
    let net = sim.net();
    sim.block_on(async {
        let (client, accepted) = pair(&net).await;
        assert_eq!(client.try_write(b"0123456789abc").unwrap(), 10);
        assert_eq!(kind(client.try_write(b"d")), ErrorKind::WouldBlock);
        let client = Rc::new(client);
        let (writer, after) = (client.clone(), Rc::new(RefCell::new(Vec::new())));
        let results = after.clone();
        net.spawn(async move {
            for bytes in [&b"abc"[..], b"0123456789", b"never"] {
                let (written, _) = writer.write(buf(bytes)).await;
                results.borrow_mut().push(written.map_err(|error| error.kind()));
            }
        });
        sleep(&net, 100).await;
        assert_eq!(*after.borrow(), []);
        let mut nearly_full = empty();
        let filled = vec![0; nearly_full.room() - 4];
        assert!(nearly_full.append(&filled));
        let (n, _) = accepted.read(nearly_full).await;
        assert_eq!(n.unwrap(), 4, "a read fills what is free");
        sleep(&net, 100).await;
        assert_eq!(*after.borrow(), [Ok(3), Ok(1)]);
        drop(accepted);
        sleep(&net, 100).await;
        assert_eq!(*after.borrow(), [Ok(3), Ok(1), Err(ErrorKind::ConnectionReset)]);
    });
}

#[test]
fn a_cancelled_read_takes_no_byte_and_leaves_the_stream_usable() {
    let mut interrupted = 0;
    for seed in 0..200 {
        let sim = Sim::new(seed, Faults::benign());
        let net = sim.net();
        let first = sim.block_on(async {
            let (client, accepted) = pair(&net).await;
            let client = Rc::new(client);
            client.cancel_read();
            let canceller = client.clone();
            let host = net.clone();
            net.spawn(async move {
                send(&accepted, b"bytes").await.unwrap();
                sleep(&host, seed * 20).await;
                canceller.cancel_read();
            });
            let (read, first) = client.read_cancelable(empty()).await;
            match read {
                Ok(n) => assert!(n > 0 && n == first.len(), "seed {seed}"),
                Err(error) => {
                    assert_eq!((error.kind(), first.len()), (ErrorKind::Interrupted, 0));
                }
            }
            let (rest, error) = read_all(&client).await;
            assert_eq!(error, None);
            assert_eq!([first.filled(), &rest].concat(), b"bytes", "seed {seed}");
            first.len()
        });
        interrupted += u32::from(first == 0);
        assert_eq!(sim.dropped_operations(), 0);
    }
    assert!((20..180).contains(&interrupted), "{interrupted} of 200 interrupted");
}

#[test]
fn a_cancel_does_not_touch_a_plain_read() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let (client, accepted) = pair(&net).await;
        let client = Rc::new(client);
        let (canceller, host) = (client.clone(), net.clone());
        net.spawn(async move {
            sleep(&host, 100).await;
            canceller.cancel_read();
            send(&accepted, b"bytes").await.unwrap();
        });
        assert_eq!(read(&client).await, Ok(b"bytes".to_vec()));
    });
}

#[test]
fn an_abort_ends_pending_operations_and_resets_on_close() {
    for seed in 0..50 {
        let sim = Sim::new(seed, Faults { capacity_bytes: 4..=4, ..Faults::benign() });
        let net = sim.net();
        sim.block_on(async {
            let (client, accepted) = pair(&net).await;
            let accepted = Rc::new(accepted);
            let ended = Rc::new(Cell::new(0));
            let (reader, counter) = (accepted.clone(), ended.clone());
            net.spawn(async move {
                let (read, _) = reader.read(empty()).await;
                assert!(matches!(read, Ok(0) | Err(_)));
                counter.set(counter.get() + 1);
            });
            let (writer, counter) = (accepted.clone(), ended.clone());
            net.spawn(async move {
                send(&writer, b"more than fits").await.unwrap_err();
                counter.set(counter.get() + 1);
            });
            sleep(&net, 1_000_000).await;
            assert_eq!(ended.get(), 0);
            accepted.abort();
            sleep(&net, 1_000_000).await;
            assert_eq!((ended.get(), accepted.state()), (2, StreamState::Gone));
            drop(accepted);
            assert_eq!(read_all(&client).await.1, Some(ErrorKind::ConnectionReset));
        });
        assert_eq!((sim.dropped_operations(), sim.panics()), (0, 0));
    }
}

#[test]
fn a_connect_is_refused_without_a_listener_and_times_out_in_a_black_hole() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        assert_eq!(kind(net.connect(server()).await), ErrorKind::ConnectionRefused);
        drop(net.listen(server()));
        assert_eq!(kind(net.connect(server()).await), ErrorKind::ConnectionRefused);
        sim.black_hole(server());
        let before = net.now();
        assert_eq!(kind(net.connect(server()).await), ErrorKind::TimedOut);
        assert_eq!(net.now().micros_since(before) / 1_000_000, 127);
    });
}

#[test]
fn a_full_backlog_delays_a_connect_by_a_second() {
    let sim = Sim::new(1, Faults { backlog_max: 1, ..Faults::none() });
    let net = sim.net();
    sim.block_on(async {
        let listener = net.listen(server());
        let first = net.connect(server()).await.unwrap();
        let host = net.clone();
        net.spawn(async move {
            sleep(&host, 10).await;
            assert!(listener.try_accept().unwrap().is_some());
            assert!(listener.try_accept().unwrap().is_none());
            sleep(&host, 10_000_000).await;
            // Dropped with the second in its queue.
        });
        let second = {
            let sent = net.now();
            let second = net.connect(server()).await.unwrap();
            assert!(net.now().micros_since(sent) < 1_000_000);
            let third = net.connect(server());
            drop(third);
            second
        };
        assert_eq!(read(&first).await, Ok(vec![]));
        assert_eq!(read(&second).await, Err(ErrorKind::ConnectionReset));
    });
    assert_eq!((sim.panics(), sim.open_streams()), (0, 0));
}

#[test]
fn a_dropped_connect_leaves_nothing_behind() {
    // The request is under way; the answer is under way; the answer has come, but the connect was not
    // polled again.
    for (after, accepted) in [(5, false), (25, true), (1_000, true)] {
        let sim = Sim::new(1, Faults::none());
        let net = sim.net();
        sim.block_on(async {
            let listener = net.listen(server());
            {
                let mut connect = pin!(net.connect(server()));
                pending_once(connect.as_mut()).await;
                sleep(&net, after).await;
            }
            sleep(&net, 1_000).await;
            let stream = listener.try_accept().unwrap().map(|(stream, _)| stream);
            assert_eq!(stream.is_some(), accepted);
            if let Some(stream) = stream {
                assert_eq!(read(&stream).await, Ok(vec![]));
            }
        });
        sim.run_until_idle();
        assert_eq!((sim.open_streams(), sim.dropped_operations()), (0, 0));
    }
}

#[test]
fn a_cancelled_accept_is_interrupted_and_the_next_one_accepts() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let listener = Rc::new(net.listen(server()));
        listener.cancel_accept();
        let (canceller, host) = (listener.clone(), net.clone());
        net.spawn(async move {
            sleep(&host, 100).await;
            canceller.cancel_accept();
            host.connect(server()).await.unwrap();
        });
        assert_eq!(kind(listener.accept().await), ErrorKind::Interrupted);
        let (_stream, from) = listener.accept().await.unwrap();
        assert_eq!(from.ip().unwrap().to_string(), "10.0.0.1");
        let client = net.from_ip("192.0.2.7".parse().unwrap());
        let _client = client.connect(server()).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1.ip().unwrap().to_string(), "192.0.2.7");
    });
}

#[test]
fn listeners_of_one_address_share_its_connections() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let listeners = [net.listen(server()), net.listen(server())];
        let mut streams = Vec::new();
        for _ in 0..40 {
            streams.push(net.connect(server()).await.unwrap());
        }
        let accepted = listeners.each_ref().map(|listener| {
            let mut count = 0;
            while listener.try_accept().unwrap().is_some() {
                count += 1;
            }
            count
        });
        assert_eq!(accepted[0] + accepted[1], 40);
        assert!(accepted[0] > 5 && accepted[1] > 5);
    });
}

#[test]
fn readiness_comes_with_bytes_and_sometimes_without_cause() {
    let mut stale = 0;
    for seed in 0..200 {
        let sim = Sim::new(seed, Faults { stall_permille: 0, ..Faults::benign() });
        let net = sim.net();
        sim.block_on(async {
            let (client, accepted) = pair(&net).await;
            let host = net.clone();
            net.spawn(async move {
                sleep(&host, 10_000).await;
                send(&accepted, b"x").await.unwrap();
                sleep(&host, 10_000).await;
            });
            let started = net.now();
            client.readable().await.unwrap();
            if client.state() == StreamState::Quiet {
                stale += 1;
                assert!(net.now().micros_since(started) < 10_000);
            }
            assert_eq!(read(&client).await, Ok(b"x".to_vec()));
        });
    }
    assert!((5..60).contains(&stale), "{stale} of 200 without cause");
}

#[test]
fn a_deadline_cancels_a_read_that_waits() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let (client, _accepted) = pair(&net).await;
        let client = Rc::new(client);
        let (host, canceller) = (net.clone(), client.clone());
        net.spawn(async move {
            sleep(&host, 30_000_000).await;
            canceller.cancel_read();
        });
        let before = net.now();
        let (read, _) = client.read_cancelable(empty()).await;
        assert_eq!(kind(read), ErrorKind::Interrupted);
        assert_eq!(net.now().micros_since(before), 30_000_000);
    });
}

#[test]
fn time_stands_still_while_a_task_can_run_and_a_dropped_sleep_is_forgotten() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        for _ in 0..1_000 {
            net.yield_now().await;
        }
        assert_eq!(net.now(), Instant(0));
        pending_once(pin!(net.sleep_until(Instant(1_000_000)))).await;
    });
    sim.run_until_idle();
    assert_eq!(sim.now(), Instant(0));
    let day = net.unix_micros();
    sim.run_for(2_000_500);
    assert_eq!((sim.now(), net.unix_micros()), (Instant(2_000_500), day + 2_000_500));
}

#[test]
fn a_yield_lets_every_runnable_task_and_every_due_event_go_first() {
    for seed in 0..100 {
        let sim = Sim::new(seed, Faults { seeded_choices: true, ..Faults::none() });
        let net = sim.net();
        let log = Rc::new(RefCell::new(Vec::new()));
        for name in 0..5 {
            let (net, log) = (net.clone(), log.clone());
            sim.net().spawn(async move {
                net.sleep_until(Instant(100)).await;
                log.borrow_mut().push(name);
                net.yield_now().await;
                log.borrow_mut().push(name + 10);
            });
        }
        sim.run_until_idle();
        let log = log.borrow();
        assert!(log[..5].iter().all(|name| *name < 10), "seed {seed}: {log:?}");
        assert!(log[5..].iter().all(|name| *name >= 10), "seed {seed}: {log:?}");
    }
}

#[test]
fn tasks_run_in_an_order_that_the_seed_decides() {
    let order = |seed, seeded_choices| {
        let sim = Sim::new(seed, Faults { seeded_choices, ..Faults::none() });
        let log = Rc::new(RefCell::new(Vec::new()));
        for name in 0..6 {
            let log = log.clone();
            sim.net().spawn(async move { log.borrow_mut().push(name) });
        }
        sim.run_until_idle();
        log.take()
    };
    assert_eq!(order(1, false), [0, 1, 2, 3, 4, 5]);
    let orders: std::collections::BTreeSet<_> = (0..50).map(|seed| order(seed, true)).collect();
    assert!(orders.len() > 40, "{} different orders", orders.len());
}

#[test]
fn an_operation_dropped_under_way_is_counted_and_a_readiness_wait_is_not() {
    let sim = Sim::new(1, Faults { capacity_bytes: 1..=1, ..Faults::none() });
    let net = sim.net();
    sim.block_on(async {
        let (client, _accepted) = pair(&net).await;
        let listener = net.listen("10.1.0.1:81".parse::<SocketAddr>().unwrap());
        assert_eq!(client.try_write(b"x").unwrap(), 1);
        drop(client.read(empty()));
        assert_eq!(sim.dropped_operations(), 0, "it had not started");
        pending_once(pin!(client.readable())).await;
        assert_eq!(sim.dropped_operations(), 0);
        pending_once(pin!(client.read(empty()))).await;
        pending_once(pin!(client.read_cancelable(empty()))).await;
        pending_once(pin!(client.write(buf(b"x")))).await;
        pending_once(pin!(listener.accept())).await;
    });
    assert_eq!(sim.dropped_operations(), 4);
}

#[test]
fn a_panic_ends_its_task_alone_and_closes_its_streams() {
    let sim = Sim::new(1, Faults::none());
    let gateway = sim.net_named("gateway");
    let listener = gateway.listen(server());
    let host = gateway.clone();
    gateway.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            host.spawn(async move {
                let line = read(&stream).await.unwrap();
                assert_ne!(line, b"bad", "this panic is wanted");
                send(&stream, &line).await.unwrap();
            });
        }
    });
    let net = sim.net();
    sim.block_on(async {
        for (line, back) in [(&b"bad"[..], &b""[..]), (b"good", b"good")] {
            let stream = net.connect(server()).await.unwrap();
            send(&stream, line).await.unwrap();
            assert_eq!(read_all(&stream).await, (back.to_vec(), None));
        }
    });
    assert_eq!((sim.panics(), gateway.panics(), net.panics()), (1, 1, 0));
    assert_eq!((sim.open_streams_of("gateway"), sim.tasks()), (0, 1));
    assert_eq!(sim.dropped_operations(), 0);
}

#[test]
fn every_operation_of_a_marked_host_can_be_forced_to_fail() {
    let run = |forced: Option<(u64, Force)>| {
        let sim = Sim::new(1, Faults::none());
        if let Some((operation, force)) = forced {
            sim.force(operation, force);
        }
        let gateway = sim.net_named("gateway");
        let failed = Rc::new(Cell::new(false));
        let net = sim.net();
        let endpoint = net.listen("10.1.0.2:80".parse::<SocketAddr>().unwrap());
        net.spawn(async move {
            while let Ok((stream, _)) = endpoint.accept().await {
                let _ = send(&stream, b"greeting").await;
                let _ = read(&stream).await;
            }
        });
        let (host, noted) = (gateway.clone(), failed.clone());
        gateway.spawn(async move {
            let listener = host.listen(server());
            let exchange = async || -> io::Result<()> {
                let (client, _) = listener.accept().await?;
                let endpoint = host.connect("10.1.0.2:80".parse::<SocketAddr>().unwrap()).await?;
                endpoint.readable().await?;
                let (read, buf) = endpoint.read(empty()).await;
                if read? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                client.write(buf).await.0?;
                Ok(())
            };
            noted.set(exchange().await.is_err());
        });
        let came = sim.block_on(async {
            match net.connect(server()).await {
                Ok(stream) => read_all(&stream).await.0,
                Err(_) => Vec::new(),
            }
        });
        sim.run_until_idle();
        assert_eq!((sim.open_streams(), sim.panics(), sim.dropped_operations()), (0, 0, 0));
        assert_eq!(came == b"greeting", !failed.get());
        (sim.operations(), failed.get())
    };
    assert_eq!(run(None), (5, false));
    for operation in 0..5 {
        for force in [Force::Cancel, Force::Reset] {
            let (started, failed) = run(Some((operation, force)));
            assert!(failed && started > operation, "operation {operation}, {force:?}");
        }
    }
}

#[test]
fn two_reads_of_a_stream_at_a_time_are_refused() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let (client, _accepted) = pair(&net).await;
        let client = Rc::new(client);
        for _ in 0..2 {
            let client = client.clone();
            net.spawn(async move {
                let _ = client.read(empty()).await;
            });
        }
        sleep(&net, 100).await;
    });
    assert_eq!((sim.panics(), sim.tasks()), (1, 1));
}

#[test]
fn a_dropped_simulation_frees_its_tasks_and_itself() {
    let sim = Sim::new(1, Faults::benign());
    serve_lines(&sim.net_named("gateway"), Rc::default());
    let net = sim.net();
    let client = sim.block_on(async {
        let client = net.connect(server()).await.unwrap();
        send(&client, b"half a line").await.unwrap();
        client
    });
    let (world, pool) = (Rc::downgrade(&sim.world), BufferPool::new(0));
    let held = pool.take(Size::Small);
    net.spawn(async move {
        std::future::pending::<()>().await;
        drop(held);
    });
    assert_eq!(pool.lent(), 1);
    drop(sim);
    assert_eq!(pool.lent(), 0);
    drop((client, net));
    assert!(world.upgrade().is_none());
}

#[test]
fn the_history_lists_reads_and_writes() {
    let sim = Sim::new(1, Faults::none());
    sim.keep_history();
    let net = sim.net_named("gateway");
    sim.block_on(async {
        let (client, accepted) = pair(&net).await;
        send(&client, b"hello").await.unwrap();
        drop(client);
        assert_eq!(read_all(&accepted).await, (b"hello".to_vec(), None));
    });
    let history = sim.history();
    assert!(history.contains("Wrote(0, Dialer, 5,"), "{history}");
    assert!(history.contains("Read(0, Acceptor, 5)"), "{history}");
}

#[test]
#[should_panic(expected = "something that cannot happen")]
fn a_run_that_cannot_end_is_reported() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    sim.block_on(async {
        let listener = net.listen(server());
        let _ = listener.accept().await;
    });
}

#[test]
#[should_panic(expected = "tasks run without end")]
fn tasks_that_never_rest_are_reported() {
    let sim = Sim::new(1, Faults::none());
    let net = sim.net();
    net.clone().spawn(async move {
        loop {
            net.yield_now().await;
        }
    });
    sim.run_until_idle();
}

#[test]
fn two_simulations_on_a_thread_do_not_disturb_each_other() {
    let (one, other) = (Sim::new(1, Faults::none()), Sim::new(1, Faults::none()));
    for sim in [&one, &other] {
        serve_lines(&sim.net_named("gateway"), Rc::default());
    }
    for sim in [&one, &other, &one] {
        let net = sim.net();
        sim.block_on(async {
            let stream = net.connect(server()).await.unwrap();
            send(&stream, b"line\n").await.unwrap();
            assert_eq!(read_line(&stream, &mut Vec::new()).await, Ok(Some(b"line\n".to_vec())));
        });
    }
    assert_ne!(one.trace_hash(), other.trace_hash());
}
