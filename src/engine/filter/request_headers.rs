//! `request_headers`: headers that are set, added or removed on the way to the endpoint.

use super::{Filter, FilterKeys, FilterRequest, FilterShare, Hooks, RequestVerdict};
use crate::header::{HeaderName, HeaderTemplates};
use crate::keys::{KeyRule, section};
use crate::template::Escape;

section! {
    /// Changes the headers of requests on their way to the endpoint. Values may hold placeholders.
    #[derive(Eq)]
    pub settings RequestHeaders {
        /// Headers that are set to a value, in place of all there are of that name. One whose value comes
        /// out empty is removed.
        /// With `host`, the endpoint gets another Host than the client sent.
        set: HeaderTemplates => KeyRule::default(HeaderTemplates::default())
            .example("{ \"x-api\" = \"{route}\" }");
        /// Headers that are added to those there are. One whose value comes out empty is not added.
        add: HeaderTemplates => KeyRule::default(HeaderTemplates::default())
            .example("{ \"via\" = \"1.1 gateway\" }");
        /// Headers that are removed, before any is set or added.
        remove: Vec<HeaderName> => KeyRule::default(Vec::new()).example("[\"x-debug\"]");
    }
}

impl FilterKeys for RequestHeaders {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }
}

impl Filter for RequestHeaders {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request(&self, request: &mut FilterRequest<'_>) -> RequestVerdict {
        // All values are made of the request as it came to this filter.
        let mut values = Vec::with_capacity(self.set.0.len() + self.add.0.len());
        for (_, template) in self.set.0.iter().chain(&self.add.0) {
            let mut value = Vec::new();
            template.fill(&request.facts(), Escape::Header, &mut value);
            values.push(value);
        }
        for name in &self.remove {
            request.head.headers.remove_named(name.0.as_bytes());
        }
        let mut values = values.into_iter();
        for ((name, _), value) in self.set.0.iter().zip(&mut values) {
            if name.0.eq_ignore_ascii_case("host") {
                // A Host that a placeholder made unsound stays as the client sent it.
                let _ = request.head.rewrite_authority(&value);
                continue;
            }
            request.head.headers.remove_named(name.0.as_bytes());
            if !value.is_empty() {
                request.head.headers.push_named(name.0.as_bytes(), &value);
            }
        }
        for ((name, _), value) in self.add.0.iter().zip(values) {
            if !value.is_empty() {
                request.head.headers.push_named(name.0.as_bytes(), &value);
            }
        }
        RequestVerdict::Continue
    }
}
