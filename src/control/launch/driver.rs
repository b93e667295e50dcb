//! Which way to the kernel: the best one that is permitted here.

use std::io::{self, ErrorKind};

use engine::config::DriverChoice;
use worker::net::monoio::Driver;

use crate::Error;

/// A driver, and why it is not a better one.
#[derive(Debug, PartialEq)]
pub(super) struct Chosen {
    pub(super) driver: Driver,
    /// To be said once, with the cure.
    pub(super) step_down: Option<String>,
}

/// Chooses; `probe` says whether a driver is permitted here.
pub(super) fn choose(
    choice: DriverChoice,
    probe: impl Fn(Driver) -> io::Result<()>,
) -> Result<Chosen, Error> {
    let candidates: &[Driver] = match choice {
        DriverChoice::Auto => &[Driver::IoUring, Driver::IoUringPlain, Driver::Epoll],
        DriverChoice::IoUring => &[Driver::IoUring, Driver::IoUringPlain],
        DriverChoice::Epoll => &[Driver::Epoll],
    };
    // The last refusal of io_uring tells most: the first may only be about the flags.
    let mut refused = None;
    for &driver in candidates {
        match probe(driver) {
            Ok(()) => {
                let step_down = refused.as_ref().map(|error| {
                    let cure = cure(error);
                    format!("{driver} is used, since better is not permitted: {error}; {cure}")
                });
                return Ok(Chosen { driver, step_down });
            }
            Err(error) => refused = Some(error),
        }
    }
    let error = refused.unwrap_or_else(|| io::Error::from(ErrorKind::Unsupported));
    Err(match choice {
        DriverChoice::Epoll => Error::fatal(format!("epoll cannot be used here: {error}")),
        _ => Error::start(
            format!("{choice} cannot be used here: {error}"),
            format!("{}; or run with --driver epoll", cure(&error)),
        ),
    })
}

/// The cure where `io_uring` is not permitted.
fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            "set sysctl kernel.io_uring_disabled=0, and let the seccomp profile of the container \
             pass io_uring_setup, io_uring_enter and io_uring_register"
        }
        ErrorKind::Unsupported => "io_uring needs Linux 5.6 or newer",
        ErrorKind::InvalidInput => "the flags we ask for need Linux 6.0 or newer",
        ErrorKind::OutOfMemory => "raise the limit of locked memory (ulimit -l, LimitMEMLOCK=)",
        _ => "io_uring needs Linux 5.6 or newer and a seccomp profile that permits it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Permits `permitted`, refuses the others as a seccomp filter does.
    fn choose_among(choice: DriverChoice, permitted: &[Driver]) -> Result<Chosen, Error> {
        choose(choice, |driver| {
            let refused = || io::Error::from(ErrorKind::PermissionDenied);
            permitted.contains(&driver).then_some(()).ok_or_else(refused)
        })
    }

    #[test]
    fn auto_takes_the_best_and_says_nothing() {
        let all = [Driver::IoUring, Driver::IoUringPlain, Driver::Epoll];
        let chosen = choose_among(DriverChoice::Auto, &all).unwrap();
        assert_eq!(chosen, Chosen { driver: Driver::IoUring, step_down: None });
    }

    #[test]
    fn auto_steps_down_and_says_why() {
        let chosen =
            choose_among(DriverChoice::Auto, &[Driver::IoUringPlain, Driver::Epoll]).unwrap();
        assert_eq!(chosen.driver, Driver::IoUringPlain);
        let chosen = choose_among(DriverChoice::Auto, &[Driver::Epoll]).unwrap();
        assert_eq!(chosen.driver, Driver::Epoll);
        let why = chosen.step_down.unwrap();
        assert!(why.contains("epoll is used") && why.contains("io_uring_disabled=0"), "{why}");
    }

    #[test]
    fn an_explicit_driver_is_that_one_or_an_error_with_the_cure() {
        let error = choose_among(DriverChoice::IoUring, &[Driver::Epoll]).unwrap_err();
        assert!(error.to_string().contains("--driver epoll"), "{error}");
        assert_eq!(error.exit_code(), 3);
        let chosen = choose_among(DriverChoice::Epoll, &[Driver::IoUring, Driver::Epoll]).unwrap();
        assert_eq!(chosen, Chosen { driver: Driver::Epoll, step_down: None });
        let chosen = choose_among(DriverChoice::IoUring, &[Driver::IoUringPlain]).unwrap();
        assert_eq!(chosen.driver, Driver::IoUringPlain);
    }
}
