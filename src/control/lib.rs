//! Feeds all cores: one thread and its helpers, beside the workers.
//!
//! [`launch`] decides which CPUs and which driver, binds the listeners and starts the workers. Then
//! the thread that did it is the control thread: `launch::main_loop` waits for reports and signals,
//! `apply` changes the configuration, `state` is the book about the cores, `node` the interface for
//! others. [`source`] reads the configuration and watches its files, [`admin`] is the admin API,
//! `export` takes in the counts of the workers, [`process_log`] keeps a reader of the log from
//! stalling anything. Nothing here is on the path of a request.
//!
//! Invariant: all that can fail does so before the first worker starts, or before the workers hear
//! of a change; and a worker that dies ends the process: a gateway with half of its cores would
//! look well and serve badly.

#![forbid(unsafe_code)]

pub mod admin;
mod apply;
mod certificates;
mod changes;
mod check;
mod dns;
mod error;
mod export;
mod handle;
pub mod launch;
mod lease;
mod listen;
mod local_node;
mod node;
mod options;
mod prober;
pub mod process_log;
mod reports;
mod sink;
pub mod source;
mod state;
mod systemd;
#[cfg(test)]
mod tests;
mod unix_socket;
mod version;
mod watched;

pub use check::check;
pub use error::Error;
pub use options::{Configuration, Options};
