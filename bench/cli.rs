//! The arguments of `ringway bench`, and the way from a subcommand to its work.

use std::io::Write;
use std::net::SocketAddr;

use crate::child::Interrupt;
use crate::endpoint::{Endpoint, EndpointOptions, Mode};
use crate::{Error, bodies, compare, floor, idle};

/// Measure gateways: the cost of a request, the memory of a connection
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Compare Ringway with nginx, haproxy and the floor: CPU per request, interleaved
    Compare(compare::Options),
    /// Memory of an idle connection, from a gateway that runs already
    Idle(idle::Options),
    /// Memory held by large downloads, uploads and slow readers
    Bodies(bodies::Options),
    /// Run the HTTP endpoint that stands behind the gateway in measurements
    Endpoint(EndpointArgs),
    /// Run the byte relay that shows the cost of the kernel alone
    Floor(floor::Options),
}

#[derive(Debug, clap::Args)]
struct EndpointArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9000")]
    address: SocketAddr,
    /// Hold the thread to this CPU
    #[arg(long)]
    cpu: Option<usize>,
    /// The content of the answers
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// The name that `hello` answers tell
    #[arg(long, default_value = "endpoint")]
    name: String,
}

/// Runs `ringway bench`. Returns false if the measurement worked but its result is not good.
pub fn run(args: Args) -> Result<bool, Error> {
    let mut out = std::io::stdout();
    match args.command {
        Command::Compare(options) => compare::run(&options, &mut out),
        Command::Idle(options) => idle::run(&options, &mut out),
        Command::Bodies(options) => bodies::run(&options, &mut out),
        Command::Endpoint(options) => endpoint(options, &mut out),
        Command::Floor(options) => floor::run(&options).map(|()| true),
    }
}

fn endpoint(args: EndpointArgs, out: &mut dyn Write) -> Result<bool, Error> {
    let EndpointArgs { address, cpu, mode, name } = args;
    crate::limits::raise_descriptors()?;
    let interrupt = Interrupt::install()?;
    let handle = Endpoint::spawn(EndpointOptions { address, name, mode, cpu })
        .map_err(Error::doing(format!("listen on {address}")))?;
    writeln!(out, "listening on {}", handle.address()).map_err(Error::print)?;
    interrupt.wait();
    Ok(true)
}
