//! The words of `path` and `encoded_slash` of a listener. The rules themselves are those of
//! [`proto::path`].

use proto::path::{EncodedSlash, Form};

use crate::keys::words;

words! { Form { Normalise = "normalise", Keep = "keep", } }
words! { EncodedSlash { Keep = "keep", Reject = "reject", } }
