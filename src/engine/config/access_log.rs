//! `[access_log]`: one line per request.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::keys::{ItemKind, KeyRule, Mistake, Shape, Value, Written, section, words};

section! {
    /// One line per request. Absent: no access log.
    pub AccessLog {
        /// The place to write to: "stdout", or the path of a file. A path that does not begin with /
        /// starts at the folder in which the gateway was started. SIGUSR1 opens the file again.
        to: LogTarget => KeyRule::default(LogTarget::Stdout);
        /// The form of a line: "json" with all fields, or "combined" as other web servers write it.
        format: LogFormat => KeyRule::default(LogFormat::Json);
    }
}

/// The place that the access log is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard output.
    Stdout,
    /// The end of this file.
    File(PathBuf),
}

impl Value for LogTarget {
    fn expected() -> Cow<'static, str> {
        "\"stdout\" or the path of a file".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: "\"stdout\" or path", pattern: Some("^.*[^/]$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        match &*text.value {
            "stdout" => Ok(Self::Stdout),
            "stderr" => {
                let cure = "write \"stdout\", or \"/dev/stderr\" if it must be that";
                Err(Mistake::with_cure("\"stderr\" is for events of the process", cure))
            }
            "" => Err(Mistake::with_cure(
                "the access log goes nowhere",
                "leave [access_log] out if none is wanted",
            )),
            path if path.ends_with('/') || path.contains('\0') => {
                Err(Mistake::value(format!("\"{path}\" is not the path of a file")))
            }
            path => Ok(Self::File(path.into())),
        }
    }

    fn write(&self) -> Written {
        match self {
            Self::Stdout => Written::text("stdout"),
            Self::File(path) => Written::Text(path.display().to_string()),
        }
    }
}

words! {
    /// The form of a line of the access log.
    pub enum LogFormat {
        /// A JSON object with all fields.
        #[default]
        Json = "json",
        /// Apache's combined format.
        Combined = "combined",
    }
}
