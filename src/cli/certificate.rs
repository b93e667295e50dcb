//! `ringway certificate`: certificates for a first try.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::exit::CANNOT_START;
use super::{log, out};

/// The arguments of `ringway certificate`.
#[derive(Debug, clap::Args)]
pub(super) struct CertificateArguments {
    #[command(subcommand)]
    command: CertificateCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CertificateCommand {
    /// Make a certificate that nobody has signed, to try TLS; clients must be told to trust it
    SelfSigned {
        /// The names of the host, and its addresses
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Write DIR/NAME.pem and DIR/NAME.key
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Replace the files if they are there
        #[arg(long)]
        force: bool,
    },
}

/// The texts of a certificate and its key, in PEM.
pub(super) struct SelfSigned {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Makes a certificate that nobody has signed.
pub(super) fn self_signed(names: Vec<String>) -> Result<SelfSigned, String> {
    let made = generate_simple_self_signed(names).map_err(|error| error.to_string())?;
    let CertifiedKey { cert, signing_key } = made;
    Ok(SelfSigned { certificate: cert.pem(), key: signing_key.serialize_pem() })
}

/// 0 when the files are written, 3 when they cannot be.
pub(super) fn run(arguments: &CertificateArguments) -> ExitCode {
    let CertificateCommand::SelfSigned { names, out: folder, force } = &arguments.command;
    match write(names, folder, *force) {
        Ok(text) => out::answer(&text, ExitCode::SUCCESS),
        Err(why) => {
            log::complain(&format!("error: {why}"));
            ExitCode::from(CANNOT_START)
        }
    }
}

/// Writes both files. Returns the part of a configuration that uses them.
fn write(names: &[String], folder: &Path, force: bool) -> Result<String, String> {
    let first = names.first().map(String::as_str).unwrap_or_default();
    // A star and a colon are awkward in the name of a file.
    let stem = first.replace('*', "wildcard").replace([':', '/'], "-");
    let made = self_signed(names.to_vec()).map_err(|why| format!("\"{first}\": {why}"))?;
    let [certificate, key] = ["pem", "key"].map(|ending| folder.join(format!("{stem}.{ending}")));
    for (path, text, mode) in [(&certificate, &made.certificate, 0o644), (&key, &made.key, 0o600)] {
        create(path, text, mode, force)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(format!(
        "[certificates.site]\ncert = \"{}\"\nkey  = \"{}\"\n",
        certificate.display(),
        key.display()
    ))
}

fn create(path: &Path, text: &str, mode: u32, force: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).mode(mode);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what broke by panicking")]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_files_of_a_pair_are_written_once_and_the_key_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["*.site.test".to_owned(), "127.0.0.1".to_owned()];
        let text = write(&names, folder.path(), false).unwrap();
        assert!(text.contains("wildcard.site.test.pem"), "{text}");
        let key = folder.path().join("wildcard.site.test.key");
        assert_eq!(key.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(write(&names, folder.path(), false).is_err());
        assert!(write(&names, folder.path(), true).is_ok());
    }
}
