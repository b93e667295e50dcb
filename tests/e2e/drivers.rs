//! A host that forbids `io_uring`, as the default seccomp profile of containers does.
//!
//! These tests choose drivers themselves, independent of the driver of the other tests.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::harness::{Client, Endpoint, Gateway, Process, config_file, ready_line, run};

/// Starts `command` where `io_uring_setup` fails with EPERM.
fn start_without_io_uring(mut command: Command) -> Process {
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    // A system call without conditions is denied with any arguments.
    let calls = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, denied, arch).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    // A filter holds for a thread and the processes that it starts, so only this thread gets it,
    // and ends.
    let started = thread::spawn(move || {
        apply_filter(&program).unwrap();
        Process::start(&mut command)
    });
    started.join().unwrap()
}

fn config(endpoint: &Endpoint) -> tempfile::NamedTempFile {
    config_file(&Gateway::in_front_of(&[endpoint]).text())
}

#[test]
fn auto_runs_on_epoll_where_io_uring_is_forbidden_and_says_so_once() {
    let endpoint = Endpoint::ok();
    let config = config(&endpoint);
    let mut command = run(config.path());
    command.args(["--driver", "auto", "--cores", "1"]);
    let mut gateway = start_without_io_uring(command);
    let (line, address) = ready_line(&gateway);
    assert!(line.contains("driver epoll"), "{line}");
    assert_eq!(Client::connect(address).get("/").text(), "ok");
    gateway.terminate();
    assert_eq!(gateway.exit_code(), 0);
    let said = gateway.stderr.all();
    let why: Vec<_> = said.iter().filter(|line| line.contains("io_uring")).collect();
    assert_eq!(why.len(), 1, "{said:?}");
    assert!(why[0].contains("WARN") && why[0].contains("epoll"), "{why:?}");
    assert!(why[0].contains("Operation not permitted"), "the reason: {why:?}");
    assert!(why[0].contains("seccomp"), "the cure: {why:?}");
}

#[test]
fn io_uring_where_it_is_forbidden_is_refused_with_the_cure() {
    let endpoint = Endpoint::ok();
    let config = config(&endpoint);
    let mut command = run(config.path());
    command.args(["--driver", "io_uring", "--cores", "1"]);
    let mut gateway = start_without_io_uring(command);
    assert_eq!(gateway.exit_code(), 3);
    let said = gateway.stderr.text();
    assert!(said.contains("io_uring") && said.contains("Operation not permitted"), "{said}");
    assert!(said.contains("seccomp") && said.contains("--driver epoll"), "the cure: {said}");
}

#[test]
fn auto_runs_on_io_uring_where_it_is_allowed_and_says_nothing() {
    let endpoint = Endpoint::ok();
    let config = config(&endpoint);
    let mut gateway = Process::start(run(config.path()).args(["--driver", "auto", "--cores", "1"]));
    let (line, _) = ready_line(&gateway);
    assert!(line.contains("driver io_uring"), "{line}");
    gateway.terminate();
    assert_eq!(gateway.exit_code(), 0);
    assert!(!gateway.stderr.text().contains("WARN"), "{}", gateway.stderr.text());
}
