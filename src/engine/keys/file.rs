//! The path of a file whose content belongs to the configuration: a certificate, a key, a list.
//!
//! Control reads the file together with the texts and watches it like them. The key holds the path
//! alone: the content is looked up in [`Sources`](crate::config::Sources) by whoever needs it.

use std::borrow::Cow;

use super::item::ItemKind;
use super::mistake::Mistake;
use super::shape::Shape;
use super::value::Value;
use super::written::Written;

/// The path of a file, as written: relative to the file of the configuration that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(pub String);

impl FilePath {
    /// The noun of its shape, by which the keys that hold one are found.
    pub const NOUN: &str = "path of a file";
}

impl AsRef<str> for FilePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Value for FilePath {
    fn expected() -> Cow<'static, str> {
        "the path of a file".into()
    }

    fn shape() -> Shape {
        Shape::Text { noun: Self::NOUN, pattern: Some("^.*[^/]$") }
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        let text = kind.text().ok_or(Mistake::KIND)?;
        match &*text.value {
            path if path.starts_with("-----BEGIN") => Err(Mistake::with_cure(
                "the text of a file stands here in place of its path",
                "put the text in a file, and write its path",
            )),
            path if path.is_empty() || path.ends_with('/') || path.contains(['\0', '\n']) => {
                Err(Mistake::value(format!("\"{path}\" is not the path of a file")))
            }
            path => Ok(Self(path.to_owned())),
        }
    }

    fn write(&self) -> Written {
        Written::text(&self.0)
    }
}
