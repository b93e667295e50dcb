//! Changes that somebody asks for, taken and refused.

use super::*;

#[tokio::test]
async fn a_change_reaches_every_core() {
    local! {
        let node = Fake::new(2);
        let applied = node.post(&with_route(1)).await.unwrap();
        assert_eq!((applied.version, applied.unchanged, applied.lagging), (2, false, vec![]));
        assert_eq!(node.versions(), [2]);
        assert!(node.cores.iter().all(|core| core.listeners.borrow().len() == 1), "none is new");
        let status = node.control.status();
        assert_eq!(status.cores.iter().map(|it| it.version).collect::<Vec<_>>(), [2, 2]);
        assert_eq!((status.version, status.reloads_ok), (2, 1));
        assert_eq!(status.last_reload.unwrap().1, Ok(2));
        assert!(node.control.config().contains("[routes.r1]"), "{}", node.control.config());
        assert_eq!(node.control.ready(), [""; 0]);
    }
}

#[tokio::test]
async fn a_change_with_mistakes_is_refused_whole_and_costs_no_number() {
    local! {
        let node = Fake::new(2);
        let bad = with_route(1).replace("\"app\"\n[routes.all", "\"nowhere\"\n[routes.all");
        let bad = bad.replace("upstream = \"app\"", "upstream = \"nowhere\"");
        let Err(Refused::Diagnostics(mistakes)) = node.post(&bad).await else { panic!() };
        assert_eq!(mistakes.len(), 2);
        let why = node.assert_as_before(1);
        assert!(why.contains("nowhere"), "{why}");
        assert!(!node.control.config().contains("r1"));
        assert!(node.control.ready().is_empty(), "the old version serves");
        assert_eq!(node.post(&with_route(1)).await.unwrap().version, 2);
    }
}

#[tokio::test]
async fn what_is_live_already_changes_nothing() {
    local! {
        let node = Fake::new(1);
        assert_eq!(node.post(&with_route(1)).await.unwrap().version, 2);
        let again = node.post(&with_route(1)).await.unwrap();
        assert_eq!((again.version, again.unchanged), (2, true));
        let comment = format!("{}# no more than a comment\n", with_route(1));
        assert_eq!(node.post(&comment).await.unwrap().version, 3, "its bytes differ");
        assert_eq!(node.versions(), [2, 3]);
        assert_eq!(node.control.status().reloads_unchanged, 1);
    }
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_named() {
    local! {
        let node = Fake::new(1);
        let text = with_route(1).replace("version = 1", "version = 1\nruntime.cores = 7");
        let Err(Refused::Cannot(why)) = node.post(&text).await else { panic!() };
        assert!(why.contains("runtime.cores") && why.contains("restart"), "{why}");
        assert_eq!(node.assert_as_before(1), why);
    }
}

#[tokio::test]
async fn a_listener_is_added_and_removed() {
    local! {
        let node = Fake::new(2);
        let web = node.address("web");
        node.post(&with_listener("more", "127.0.0.1:0")).await.unwrap();
        let more = node.address("more");
        assert_eq!(node.address("web"), web, "port 0 stays the port that it became");
        for core in &node.cores {
            let listeners = core.listeners.borrow();
            assert_eq!(listeners.len(), 2);
            let BoundSocket::Tcp(socket) = &listeners[1].1 else { panic!("{listeners:?}") };
            assert_eq!(socket.local_addr().unwrap(), more);
        }
        assert!(TcpStream::connect(more).is_ok());
        node.post(TEXT).await.unwrap();
        assert_eq!(node.control.status().listeners.len(), 1);
        let places = node.control.shared.state.borrow().places();
        let addresses: Vec<_> = places.iter().filter_map(|it| it.address.ip()).collect();
        assert_eq!(addresses, [web], "the other may be had");
        assert_eq!(node.versions(), [2, 3]);
    }
}

#[tokio::test]
async fn an_address_moves_from_one_listener_to_another() {
    local! {
        let node = Fake::new(2);
        node.post(&with_listener("one", "127.0.0.1:0")).await.unwrap();
        let address = node.address("one").to_string();
        node.post(&with_listener("two", &address)).await.unwrap();
        assert_eq!(node.address("two").to_string(), address);
        // The old sockets are still open: these workers close none.
        node.post(&with_listener("three", &address)).await.unwrap();
        assert_eq!(node.address("three").to_string(), address);
    }
}

#[tokio::test]
async fn a_port_in_use_is_refused() {
    local! {
        let node = Fake::new(2);
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = with_listener("more", &other.local_addr().unwrap().to_string());
        let Err(Refused::Cannot(why)) = node.post(&text).await else { panic!() };
        assert!(why.contains("listener `more`") && why.contains("in use"), "{why}");
        assert_eq!(node.assert_as_before(1), why);
        assert_eq!(node.cores[0].listeners.borrow().len(), 1);
    }
}

#[tokio::test]
async fn a_change_for_another_version_is_a_conflict() {
    local! {
        let node = Fake::new(1);
        let change = |version, number| Change {
            text: Some(with_route(number)),
            if_match: Some(version),
            dry_run: false,
        };
        assert_eq!(node.control.apply(change(1, 1)).await.unwrap().version, 2);
        let late = node.control.apply(change(1, 2)).await;
        assert_eq!(late, Err(Refused::Conflict { version: 2 }));
        assert_eq!(node.control.status().reloads_refused, 0, "nothing was tried");
        // Of two at once for the same version one is made.
        let [one, other] = [3, 4].map(|number| node.control.apply(change(2, number)));
        let (one, other) = tokio::join!(one, other);
        assert_eq!((one.unwrap().version, other), (3, Err(Refused::Conflict { version: 3 })));
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen() {
    local! {
        let node = Fake::new(1);
        let dry = |text: &str| node.control.apply(Change {
            text: Some(text.to_owned()),
            dry_run: true,
            if_match: None,
        });
        assert_eq!(dry(&with_route(1)).await.unwrap().version, 1);
        assert!(matches!(dry("version = 1\nx = 1").await, Err(Refused::Diagnostics(_))));
        assert!(node.versions().is_empty());
        assert_eq!(node.control.status().last_reload, None);
        assert_eq!(node.control.status().reloads_refused, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_lags_is_named_until_it_has_switched() {
    local! {
        let node = Fake::new(2);
        node.cores[1].stuck.set(true);
        let begun = Instant::now();
        let applied = node.post(&with_route(1)).await.unwrap();
        assert_eq!((applied.version, applied.lagging), (2, vec![1]));
        assert!(begun.elapsed() >= SWITCH_TIMEOUT);
        let reasons = node.control.ready();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert!(reasons[0].starts_with("core 1 is still at version 1 of 2, 2."), "{reasons:?}");
        node.cores[1].release();
        eventually("it has switched", || node.control.ready().is_empty()).await;
        assert_eq!(node.versions(), [2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_is_stuck_gets_no_further_versions() {
    local! {
        let node = Fake::new(2);
        node.cores[0].stuck.set(true);
        for number in 0..usize::try_from(LAG_MAX).unwrap() {
            node.post(&with_route(number)).await.unwrap();
        }
        let Err(Refused::Cannot(why)) = node.post(TEXT).await else { panic!() };
        assert!(why.contains("core 0 is still at version 1 of 5"), "{why}");
        node.cores[0].release();
        eventually("it has switched", || node.cores[0].versions.borrow().len() == 4).await;
        eventually("it is up to date", || node.control.shared.state.borrow().lag() == 0).await;
        assert_eq!(node.post(TEXT).await.unwrap().version, 6);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_a_core_still_listens_at_may_be_had_again() {
    local! {
        let node = Fake::new(1);
        node.post(&with_listener("more", "127.0.0.1:0")).await.unwrap();
        let address = node.address("more");
        node.cores[0].stuck.set(true);
        assert_eq!(node.post(TEXT).await.unwrap().lagging, [0]);
        let again = node.post(&with_listener("again", &address.to_string())).await.unwrap();
        assert_eq!((again.version, node.address("again")), (4, address));
    }
}

#[tokio::test(start_paused = true)]
async fn changes_wait_for_each_other_up_to_a_bound() {
    local! {
        let node = Fake::new(1);
        node.cores[0].stuck.set(true);
        let first: Vec<_> = (0..CHANGES_MAX)
            .map(|number| {
                let control = node.control.clone();
                let change = Change { text: Some(with_route(number)), ..Change::default() };
                spawn_local(async move { control.apply(change).await })
            })
            .collect();
        yield_now().await;
        assert_eq!(node.post(TEXT).await, Err(Refused::Busy));
        node.cores[0].release();
        let mut versions = Vec::new();
        for change in first {
            versions.push(change.await.unwrap().unwrap().version);
        }
        assert_eq!(versions, [2, 3, 4, 5, 6, 7, 8, 9], "in the order in which they came");
        assert_eq!(node.post(TEXT).await.unwrap().version, 10);
    }
}

#[tokio::test]
async fn a_change_goes_on_when_nobody_waits_for_it_any_more() {
    local! {
        let node = Fake::new(1);
        let text = with_route(1);
        // It has begun when it is dropped, and no more than that.
        tokio::select! {
            biased;
            _ = node.post(&text) => panic!("it takes more than one turn"),
            () = async {} => {}
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while node.control.shared.changes.get() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(node.control.status().version, 2);
    }
}

#[tokio::test]
async fn a_gateway_that_drains_takes_no_change() {
    local! {
        let node = Fake::new(2);
        assert_eq!(node.control.drain(), Duration::from_secs(30));
        let Err(Refused::Cannot(why)) = node.post(&with_route(1)).await else { panic!() };
        assert!(why.contains("stopping"), "{why}");
        assert!(node.control.ready()[0].contains("draining"));
        assert!(node.control.status().draining);
        eventually("it is told", || node.cores.iter().all(|it| it.drains.get() == 1)).await;
        assert!(node.versions().is_empty());
    }
}
