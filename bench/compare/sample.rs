//! One measurement of one product in one scenario, and the file that keeps all of them.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::load::Load;
use crate::Error;

/// The result of one run of one product.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) round: u32,
    pub(super) scenario: &'static str,
    pub(super) product: String,
    pub(super) version: String,
    pub(super) load: Load,
    /// Time on a CPU of all processes and threads of the product.
    pub(super) cpu_ns: u64,
    pub(super) resident_bytes: u64,
    /// How busy the load CPU was, 0 to 1: generator and endpoint together.
    pub(super) load_busy: f64,
    /// The part of the gateway's CPU that the hypervisor took, 0 to 1.
    pub(super) stolen: f64,
    /// The part of the gateway's CPU that other processes of this machine took, 0 to 1.
    pub(super) foreign: f64,
    /// The requested rate of a paced scenario, in requests per second; 0 for the others.
    pub(super) rate: f64,
}

impl Sample {
    pub(super) fn cpu_us_per_request(&self) -> f64 {
        self.cpu_ns as f64 / 1000.0 / self.load.requests as f64
    }

    pub(super) fn requests_per_second(&self) -> f64 {
        self.load.requests as f64 / self.load.seconds
    }
}

/// The raw rows. Each is written as soon as it exists, so that an interrupted comparison keeps its
/// rows.
#[derive(Debug)]
pub(super) struct RawFile(File);

impl RawFile {
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let doing = || format!("write {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::doing(doing()))?;
        }
        let mut file = File::create(path).map_err(Error::doing(doing()))?;
        writeln!(file, "{COLUMNS}").map_err(Error::doing(doing()))?;
        Ok(Self(file))
    }

    pub(super) fn add(&mut self, sample: &Sample) -> Result<(), Error> {
        writeln!(self.0, "{}", row(sample)).map_err(Error::doing("write the raw rows"))
    }
}

fn row(sample: &Sample) -> String {
    let Sample { round, scenario, product, version, load, .. } = sample;
    format!(
        "{round},{scenario},{product},{version},{},{:.3},{:.1},{},{:.3},\
         {:.1},{:.1},{},{},{:.3},{:.3},{:.3},{:.1}",
        load.requests,
        load.seconds,
        sample.requests_per_second(),
        sample.cpu_ns,
        sample.cpu_us_per_request(),
        load.p50_us,
        load.p99_us,
        load.errors,
        sample.resident_bytes,
        sample.load_busy,
        sample.stolen,
        sample.foreign,
        sample.rate,
    )
}

const COLUMNS: &str = "round,scenario,product,version,requests,seconds,requests_per_second,cpu_ns,\
    cpu_us_per_request,p50_us,p99_us,errors,resident_bytes,load_busy,stolen,foreign,rate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_as_many_fields_as_there_are_columns() {
        let load = Load { requests: 1000, seconds: 2.0, p50_us: 10.0, p99_us: 20.0, errors: 1 };
        let sample = Sample {
            round: 1,
            scenario: "get-1k-64",
            product: "nginx".into(),
            version: "1.2".into(),
            load,
            cpu_ns: 5_000_000,
            resident_bytes: 4096,
            load_busy: 0.5,
            stolen: 0.0,
            foreign: 0.0,
            rate: 0.0,
        };
        assert_eq!(row(&sample).split(',').count(), COLUMNS.split(',').count());
        assert!((sample.cpu_us_per_request() - 5.0).abs() < 1e-9);
        assert!((sample.requests_per_second() - 500.0).abs() < 1e-9);
    }
}
