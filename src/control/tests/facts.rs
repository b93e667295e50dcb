//! Facts for the cores: the states of endpoints.

use engine::address::Address;
use engine::balance::EndpointState;
use worker::message::Fact;

use super::*;

fn address() -> Address {
    "127.0.0.1:9000".parse().unwrap()
}

fn fact(state: EndpointState) -> Fact {
    Fact::Endpoint { upstream: "app".into(), address: address(), state }
}

fn states(node: &Fake) -> Vec<(String, EndpointState)> {
    let upstreams = node.control.status().upstreams;
    let endpoints = upstreams.into_iter().flat_map(|(_, endpoints)| endpoints);
    endpoints.map(|it| (it.address, it.state)).collect()
}

#[tokio::test]
async fn every_core_takes_in_the_state_of_an_endpoint_before_the_answer() {
    local! {
        let node = Fake::new(2);
        for state in [EndpointState::Draining, EndpointState::Ready] {
            let lagging = node.control.set_endpoint("app", &address(), state).await;
            assert_eq!(lagging, Some(vec![]));
            for core in &node.cores {
                assert_eq!(core.facts.borrow().last(), Some(&fact(state)));
            }
            assert_eq!(states(&node), [("127.0.0.1:9000".to_owned(), state)]);
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_no_fact() {
    local! {
        let node = Fake::new(1);
        let elsewhere = "127.0.0.1:9009".parse().unwrap();
        for (upstream, address) in [("app", &elsewhere), ("nobody", &address())] {
            let set = node.control.set_endpoint(upstream, address, EndpointState::Draining).await;
            assert_eq!(set, None);
        }
        assert!(node.cores[0].facts.borrow().is_empty());
        assert_eq!(states(&node)[0].1, EndpointState::Ready);
    }
}

#[tokio::test]
async fn a_drain_is_told_again_after_a_switch_and_ends_with_its_endpoint() {
    local! {
        let node = Fake::new(1);
        node.control.set_endpoint("app", &address(), EndpointState::Draining).await;
        node.post(&with_route(1)).await.unwrap();
        eventually("the core is told again", || node.cores[0].facts.borrow().len() == 2).await;
        assert_eq!(*node.cores[0].facts.borrow(), [EndpointState::Draining; 2].map(fact));
        assert_eq!(states(&node)[0].1, EndpointState::Draining);
        node.post(&with_route(1).replace("127.0.0.1:9000", "127.0.0.1:9009")).await.unwrap();
        assert_eq!(states(&node), [("127.0.0.1:9009".to_owned(), EndpointState::Ready)]);
        node.post(&with_route(2)).await.unwrap();
        assert_eq!(states(&node)[0].1, EndpointState::Ready);
        assert_eq!(node.cores[0].facts.borrow().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_is_stuck_is_named_and_hears_of_it_later() {
    local! {
        let node = Fake::new(2);
        node.cores[1].stuck.set(true);
        let lagging = node.control.set_endpoint("app", &address(), EndpointState::Draining).await;
        assert_eq!(lagging, Some(vec![1]));
        node.cores[1].release();
        eventually("it hears", || !node.cores[1].facts.borrow().is_empty()).await;
    }
}
