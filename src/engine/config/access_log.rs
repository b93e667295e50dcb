//! `[access_log]`: one line per request.

use std::borrow::Cow;
use std::path::PathBuf;

use super::section::{Mistake, Rule, Scalar, section};
use super::shape::Shape;
use super::tree::Kind;
use super::written::Written;

section! {
    /// One line per request. Absent: none is written.
    pub AccessLog {
        /// Where to: "stdout", or the path of a file, from where the gateway was started if it
        /// does not begin at the root. SIGUSR1 opens the file again.
        to: LogTarget => Rule::default(LogTarget::Stdout);
        /// How: "json" with all fields, or "combined" as other web servers write it.
        format: LogFormat => Rule::default(LogFormat::Json);
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The standard output.
    Stdout,
    /// The end of this file.
    File(PathBuf),
}

impl Scalar for LogTarget {
    fn wanted() -> Cow<'static, str> {
        "\"stdout\" or the path of a file".into()
    }

    fn form() -> Shape {
        Shape::Text { noun: "\"stdout\" or path", pattern: Some("^.*[^/]$") }
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
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

    fn show(&self) -> Written {
        match self {
            Self::Stdout => Written::text("stdout"),
            Self::File(path) => Written::Text(path.display().to_string()),
        }
    }
}

/// What a line of the access log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object with all fields.
    Json,
    /// Apache's combined format.
    Combined,
}

impl LogFormat {
    /// The names, as they are written.
    const NAMES: [(&str, Self); 2] = [("json", Self::Json), ("combined", Self::Combined)];
}

impl Scalar for LogFormat {
    fn wanted() -> Cow<'static, str> {
        "\"json\" or \"combined\"".into()
    }

    fn form() -> Shape {
        Shape::Words(Self::NAMES.map(|(name, _)| name).to_vec())
    }

    fn parse(kind: &Kind) -> Result<Self, Mistake> {
        let Kind::Text(text) = kind else {
            return Err(Mistake::Kind);
        };
        let named = Self::NAMES.into_iter().find(|(name, _)| *name == text.value);
        let mistake = || Mistake::value(format!("\"{}\" is not a format", text.value));
        named.map(|(_, format)| format).ok_or_else(mistake)
    }

    fn show(&self) -> Written {
        let named = Self::NAMES.into_iter().find(|(_, format)| format == self);
        Written::text(named.map_or("json", |(name, _)| name))
    }
}
