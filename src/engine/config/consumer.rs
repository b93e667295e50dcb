//! `[consumers.NAME]`: a party that calls, with its credentials.

use crate::auth::KeyHash;
use crate::keys::{KeyRule, Spanned, section};

section! {
    /// A party that calls: an application, a team, a customer. Filters such as `api_key` find it by its
    /// credentials. Its name stands in the access log, and `{consumer}` stands for it in templates.
    #[derive(Eq)]
    pub Consumer {
        /// Groups that it belongs to, for filters `acl`.
        groups: Vec<String> => KeyRule::default(Vec::new()).example("[\"staff\"]");
        /// API keys, for filters `api_key`: "sha256:" with the hash of the key in hexadecimal digits, as
        /// `printf %s "$KEY" | sha256sum` prints it, or the key itself through a variable. Only hashes
        /// are kept. Several keys let a consumer change its key without a gap.
        api_keys: Vec<Spanned<KeyHash>> => KeyRule::default(Vec::new()).example("[\"${env:ALICE_KEY}\"]");
    }
}
