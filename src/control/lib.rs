//! Feeds all cores: one thread and its helpers, beside the workers.
//!
//! [`launch`] decides which CPUs and which driver, binds the listeners and starts the workers;
//! then it waits for signals and for the workers' reports until all have drained. Nothing here is
//! on the path of a request.
//!
//! Invariant: all that can fail does so before the first worker starts, and a worker that dies
//! ends the process: a gateway with half of its cores would look well and serve badly.

#![forbid(unsafe_code)]

mod error;
pub mod launch;

pub use error::Error;
