//! `api_key`: consumers by a key that they send.

use super::{Filter, FilterKeys, FilterReply, FilterRequest, FilterShare, Hooks, RequestVerdict};
use crate::auth::{CredentialPlace, Credentials};
use crate::keys::{KeyRule, section};
use crate::reason::Reason;

section! {
    /// Lets requests in that carry an API key of one of the `[consumers]`. Others are answered 401:
    /// `credential_missing` without a key, `credential_invalid` with an unknown one, with two keys, or
    /// with a key of another consumer than an earlier filter has found.
    #[derive(Eq)]
    pub settings ApiKey {
        /// Where the key stands: "header:NAME" or "cookie:NAME". In `header:authorization` it follows
        /// the scheme `Bearer`.
        from: Vec<CredentialPlace> => KeyRule::default(vec![CredentialPlace::Header("x-api-key".into())]);
        /// Whether the endpoint gets the key, too.
        keep: bool => KeyRule::default(false);
        /// Whether requests without a key go on, without a consumer. A wrong key is still refused.
        anonymous: bool => KeyRule::default(false);
    }
}

impl FilterKeys for ApiKey {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let nowhere = self.from.is_empty();
        nowhere.then(|| ("no place holds a key".to_owned(), "write from = [\"header:x-api-key\"]"))
    }

    fn opens(&self) -> bool {
        self.anonymous
    }
}

impl Filter for ApiKey {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let found = match CredentialPlace::credentials(&self.from, request.head) {
            Credentials::One(key) => request.consumers.by_api_key(key),
            Credentials::Several => None,
            Credentials::None if self.anonymous => return RequestVerdict::Continue,
            Credentials::None => return self.refuse(Reason::CredentialMissing),
        };
        let Some(consumer) = found else {
            return self.refuse(Reason::CredentialInvalid);
        };
        // Two filters that find two consumers would leave open for whom the request is.
        if request.identity.consumer.is_some_and(|before| before != consumer) {
            return self.refuse(Reason::CredentialInvalid);
        }
        request.identity.consumer = Some(consumer);
        if !self.keep {
            self.from.iter().for_each(|place| place.remove(&mut request.head.headers));
        }
        RequestVerdict::Continue
    }
}

impl ApiKey {
    /// The answer with the challenge that a 401 must have, RFC 9110 section 11.6.1.
    fn refuse(&self, reason: Reason) -> RequestVerdict {
        let bearer = self.from.contains(&CredentialPlace::Bearer);
        let challenge = if bearer { "Bearer" } else { "ApiKey" };
        FilterReply::challenge(reason, challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHARE, TestRequest};
    use super::*;
    use crate::auth::{Consumer, Consumers, KeyHash};

    const KEY: &str = "0123456789abcdef";

    fn request(fields: &str) -> TestRequest {
        let mut request = TestRequest::new(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}"));
        let mut consumers = Consumers::default();
        for (name, key) in [("alice", KEY), ("bob", "fedcba9876543210")] {
            let consumer = Consumer { name: name.into(), groups: Vec::new() };
            consumers.add(consumer, &[KeyHash::of(key.as_bytes())]);
        }
        request.consumers = consumers;
        request
    }

    fn keys(from: &[CredentialPlace]) -> ApiKey {
        let from = from.to_vec();
        ApiKey { from, ..ApiKey::default() }.start(SHARE, None)
    }

    fn refusal(verdict: RequestVerdict) -> Option<&'static str> {
        match verdict {
            RequestVerdict::Reply(reply) => {
                assert_eq!(reply.status, 401);
                assert!(reply.headers.iter().any(|(name, _)| **name == *b"www-authenticate"));
                reply.reason.map(Reason::token)
            }
            _ => None,
        }
    }

    #[test]
    fn a_request_with_a_known_key_has_a_consumer_and_loses_the_key() {
        for keep in [false, true] {
            let filter = ApiKey { keep, ..ApiKey::default() };
            let mut request = request(&format!("X-Api-Key: {KEY}\r\n"));
            assert_eq!(refusal(request.run(&filter)), None);
            assert_eq!(request.consumers.name(request.identity.consumer), "alice");
            assert_eq!(request.head.headers.find(b"x-api-key").is_some(), keep);
        }
    }

    #[test]
    fn all_other_requests_are_refused() {
        let filter = keys(&[CredentialPlace::Header("x-api-key".into()), CredentialPlace::Bearer]);
        for (fields, reason) in [
            (String::new(), "credential_missing"),
            ("X-Api-Key:\r\n".to_owned(), "credential_invalid"),
            (format!("X-Api-Key: {}\r\n", KEY.to_ascii_uppercase()), "credential_invalid"),
            (format!("X-Api-Key: {KEY}0\r\n"), "credential_invalid"),
            (format!("X-Api-Key: {}\r\n", &KEY[1..]), "credential_invalid"),
            (format!("X-Api-Key: {KEY}\r\nX-Api-Key: {KEY}\r\n"), "credential_invalid"),
            (format!("X-Api-Key: {KEY}\r\nAuthorization: Bearer x\r\n"), "credential_invalid"),
            (format!("Authorization: Basic {KEY}\r\n"), "credential_missing"),
            (format!("X-Api-Key: {}\r\n", KEY.repeat(1000)), "credential_invalid"),
        ] {
            let mut request = request(&fields);
            assert_eq!(refusal(request.run(&filter)), Some(reason), "{fields}");
            assert_eq!(request.identity.consumer, None, "{fields}");
        }
        // The hash is not the key.
        let hash = "sha256:9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
        let mut request = request(&format!("X-Api-Key: {hash}\r\n"));
        assert_eq!(refusal(request.run(&filter)), Some("credential_invalid"));
    }

    #[test]
    fn a_request_without_a_key_passes_only_where_that_is_written() {
        let filter = ApiKey { anonymous: true, ..ApiKey::default() };
        assert_eq!(refusal(request("").run(&filter)), None);
        let mut wrong = request("X-Api-Key: wrong\r\n");
        assert_eq!(refusal(wrong.run(&filter)), Some("credential_invalid"));
    }

    #[test]
    fn keys_of_two_consumers_in_two_filters_are_refused() {
        let mut request = request(&format!("X-Api-Key: {KEY}\r\nX-Other: fedcba9876543210\r\n"));
        assert_eq!(refusal(request.run(&ApiKey::default())), None);
        let other = keys(&[CredentialPlace::Header("x-other".into())]);
        assert_eq!(refusal(request.run(&other)), Some("credential_invalid"));
    }
}
