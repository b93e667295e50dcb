//! Why a value cannot be read.

/// Why a value cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
    /// It is a list where a string should be, and the like.
    Kind {
        /// The text to write instead.
        cure: Option<String>,
    },
    /// It makes no sense.
    Value {
        /// The mistake, with the value in it.
        what: String,
        /// The text to write instead.
        cure: Option<String>,
    },
}

impl Mistake {
    /// It is a list where a string should be, and the like.
    pub const KIND: Self = Self::Kind { cure: None };

    /// It is a list where a string should be, and the like; `cure` says which value to write.
    pub fn kind(cure: impl Into<String>) -> Self {
        Self::Kind { cure: Some(cure.into()) }
    }

    /// The value makes no sense, and the cure is to write an expected one.
    pub fn value(what: impl Into<String>) -> Self {
        Self::Value { what: what.into(), cure: None }
    }

    /// The value makes no sense; `cure` says which one to write.
    pub fn with_cure(what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Value { what: what.into(), cure: Some(cure.into()) }
    }
}
