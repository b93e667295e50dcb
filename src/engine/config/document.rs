//! The keys at the top of a configuration.

use std::borrow::Cow;

use super::access_log::AccessLog;
use super::admin::Admin;
use super::certificate::Certificate;
use super::consumer::Consumer;
use super::include::Includes;
use super::listener::Listener;
use super::route::Route;
use super::runtime::Runtime;
use super::upstream::Upstream;
use crate::filter::FilterSettings;
use crate::keys::{
    Item, ItemKind, KeyRule, Mistake, Named, SectionValue, Shape, Value, Walk, Written, section,
};

section! {
    /// The whole configuration.
    pub Document {
        /// The version of this format. The first file must say it.
        version: Option<Version> => KeyRule::optional("1").in_sample();
        /// Further files to read. Paths are relative to the file that names them; * stands for any
        /// part of a name. A file may hold any objects. An object or a section that stands in two
        /// files is an error.
        include: Includes => KeyRule::default(Includes(Vec::new())).example("[\"routes/*.toml\"]");
        /// Cores, memory and the way to the kernel.
        runtime: Runtime => KeyRule::settings();
        /// The admin API: health, metrics, status and changes.
        admin: Admin => KeyRule::settings();
        /// One line per request.
        access_log: Option<AccessLog> => KeyRule::optional_section();
        /// Addresses that clients connect to.
        listeners: Named<Listener> => KeyRule::named("web");
        /// Certificates with their keys, for listeners with TLS.
        certificates: Named<Certificate> => KeyRule::default(Named::default()).example("site");
        /// Groups of endpoints that requests can go to.
        upstreams: Named<Upstream> => KeyRule::named("users");
        /// Steps of the gateway that routes and listeners use by name.
        filters: Named<FilterSettings> => KeyRule::named("office");
        /// Parties that call, with their credentials.
        consumers: Named<Consumer> => KeyRule::default(Named::default()).example("alice");
        /// Rules that say which requests go to which upstream.
        routes: Named<Route> => KeyRule::named("users");
    }
}

impl Document {
    /// The keys that hold objects by name.
    pub(super) fn named() -> Vec<&'static str> {
        let section = Self::section();
        let named = section.keys.iter().filter(|key| matches!(key.shape, Shape::Named(_)));
        named.map(|key| key.name).collect()
    }
}

/// The version of the configuration format. There is one so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version;

impl Value for Version {
    fn expected() -> Cow<'static, str> {
        "1".into()
    }

    fn shape() -> Shape {
        Shape::Integers(&[1])
    }

    fn parse(kind: &ItemKind<'_>) -> Result<Self, Mistake> {
        match kind {
            ItemKind::Integer(Some(1)) => Ok(Self),
            ItemKind::Integer(Some(version)) => {
                let what = format!("version {version} of the format is not known here");
                Err(Mistake::value(what))
            }
            ItemKind::Text(text) if text.value == "1" => {
                Err(Mistake::kind("write 1 without quotes"))
            }
            _ => Err(Mistake::KIND),
        }
    }

    fn read<'n>(item: &'n Item<'n>, walk: &mut Walk<'n>) -> Option<Self> {
        if let Err(mistake) = Self::parse(&item.kind) {
            walk.mistake(item, mistake, &Self::expected());
        }
        // The rest is looked at all the same.
        Some(Self)
    }

    fn write(&self) -> Written {
        Written::Integer(1)
    }
}
