//! `response_headers`: headers that are set, added or removed on the way to the client.

use super::{Filter, FilterKeys, FilterResponse, FilterShare, Hooks, ResponseVerdict};
use crate::header::{HeaderName, HeaderTemplates};
use crate::keys::{KeyRule, section};
use crate::template::Escape;

section! {
    /// Changes the headers of responses on their way to the client, also of those that the gateway makes
    /// itself. Values may hold placeholders.
    #[derive(Eq)]
    pub settings ResponseHeaders {
        /// Headers that are set to a value, in place of all there are of that name. One whose value comes
        /// out empty is removed.
        set: HeaderTemplates => KeyRule::default(HeaderTemplates::default())
            .example("{ \"strict-transport-security\" = \"max-age=31536000\" }");
        /// Headers that are added to those there are. One whose value comes out empty is not added.
        add: HeaderTemplates => KeyRule::default(HeaderTemplates::default())
            .example("{ \"vary\" = \"accept-language\" }");
        /// Headers that are removed, before any is set or added.
        remove: Vec<HeaderName> => KeyRule::default(Vec::new()).example("[\"server\"]");
    }
}

impl FilterKeys for ResponseHeaders {
    type Running = Self;

    fn start(&self, _: FilterShare, _: Option<&Self>) -> Self {
        self.clone()
    }
}

impl Filter for ResponseHeaders {
    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn on_response(&self, response: &mut FilterResponse<'_>) -> ResponseVerdict {
        for name in &self.remove {
            response.head.headers.remove_named(name.0.as_bytes());
        }
        let mut value = Vec::new();
        for (name, template) in &self.set.0 {
            value.clear();
            template.fill(&response.facts, Escape::Header, &mut value);
            response.head.headers.remove_named(name.0.as_bytes());
            if !value.is_empty() {
                response.head.headers.push_named(name.0.as_bytes(), &value);
            }
        }
        for (name, template) in &self.add.0 {
            value.clear();
            template.fill(&response.facts, Escape::Header, &mut value);
            if !value.is_empty() {
                response.head.headers.push_named(name.0.as_bytes(), &value);
            }
        }
        ResponseVerdict::Continue
    }
}
