//! `acl`: which consumers may use a route.

use super::{Filter, FilterKeys, FilterReply, FilterRequest, FilterShare, Hooks, RequestVerdict};
use crate::keys::{KeyRule, section};
use crate::reason::Reason;

section! {
    /// Lets requests in by their consumer, and answers others 403. Put it behind the filter that finds the
    /// consumer, such as `api_key`: without one, no request has a consumer, and all are refused.
    #[derive(Eq)]
    pub Acl {
        /// Rules. A request that meets one of them goes on.
        allow: Vec<AclRule> => KeyRule::required("[{ groups = [\"staff\"] }, { consumers = [\"bob\"], methods = [\"GET\"] }]");
    }
}

section! {
    /// A rule of an `acl`. A request meets it if its consumer and its method meet every key that is
    /// there.
    #[derive(Eq)]
    pub settings AclRule {
        /// The consumer is one of these.
        consumers: Option<Vec<String>> => KeyRule::optional("[\"alice\"]");
        /// The consumer is in one of these groups.
        groups: Option<Vec<String>> => KeyRule::optional("[\"staff\"]");
        /// The method is one of these.
        methods: Option<Vec<String>> => KeyRule::optional("[\"GET\"]");
    }
}

impl FilterKeys for Acl {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }

    fn mistake(&self) -> Option<(String, &'static str)> {
        let open = self.allow.iter().any(|it| it.consumers.is_none() && it.groups.is_none());
        let cure = "name `consumers` or `groups` in each rule";
        open.then(|| ("a rule without consumers and groups lets anybody in".to_owned(), cure))
    }
}

impl Filter for Acl {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        let consumer = request.identity.consumer.and_then(|id| request.consumers.find(id));
        let method = request.head.method_bytes();
        let meets = |rule: &AclRule| {
            consumer.is_some_and(|it| {
                let named = |names: &Vec<String>| names.iter().any(|name| **name == *it.name);
                let grouped = |groups: &Vec<String>| groups.iter().any(|of| it.groups.contains(of));
                let by_method =
                    |methods: &Vec<String>| methods.iter().any(|it| it.as_bytes() == method);
                rule.consumers.as_ref().is_none_or(named)
                    && rule.groups.as_ref().is_none_or(grouped)
                    && rule.methods.as_ref().is_none_or(by_method)
            })
        };
        if self.allow.iter().any(meets) {
            return RequestVerdict::Continue;
        }
        FilterReply::refuse(Reason::ConsumerDenied)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestRequest;
    use super::*;
    use crate::auth::{Consumer, Consumers, KeyHash};

    fn some(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&it| it.to_owned()).collect())
    }

    fn passes(filter: &Acl, method: &str, key: Option<&str>) -> bool {
        let mut consumers = Consumers::default();
        for (name, group) in [("alice", "staff"), ("bob", "guests")] {
            let consumer = Consumer { name: name.into(), groups: vec![group.to_owned()] };
            consumers.add(consumer, &[KeyHash::of(name.as_bytes())]);
        }
        let mut request = TestRequest::new(&format!("{method} / HTTP/1.1\r\nHost: a\r\n"));
        request.identity.consumer = key.and_then(|key| consumers.by_api_key(key.as_bytes()));
        request.consumers = consumers;
        matches!(request.run(filter), RequestVerdict::Continue)
    }

    #[test]
    fn a_consumer_passes_by_its_name_or_its_group_and_nobody_else_does() {
        let staff = AclRule { groups: some(&["staff"]), ..AclRule::default() };
        let bob =
            AclRule { consumers: some(&["bob"]), methods: some(&["GET"]), ..AclRule::default() };
        let filter = Acl { allow: vec![staff, bob] };
        assert!(passes(&filter, "POST", Some("alice")));
        assert!(passes(&filter, "GET", Some("bob")));
        assert!(!passes(&filter, "POST", Some("bob")));
        assert!(!passes(&filter, "get", Some("bob")));
        assert!(!passes(&filter, "GET", None));
    }

    #[test]
    fn a_rule_for_anybody_is_a_mistake_and_no_rule_lets_nobody_in() {
        let anybody = AclRule { methods: some(&["GET"]), ..AclRule::default() };
        assert!(Acl { allow: vec![anybody.clone()] }.mistake().is_some());
        assert!(!passes(&Acl { allow: vec![anybody] }, "GET", None));
        assert!(!passes(&Acl { allow: Vec::new() }, "GET", Some("alice")));
    }
}
