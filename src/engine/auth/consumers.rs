//! The consumers of a snapshot, found by their credentials.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::key_hash::KeyHash;

/// The number of a consumer within its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConsumerId(u32);

/// A consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The groups that it belongs to.
    pub groups: Vec<String>,
}

/// All consumers of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    all: Vec<Consumer>,
    by_key: HashMap<KeyHash, ConsumerId, FixedState>,
}

impl Consumers {
    /// Adds a consumer with these API keys. No other consumer has one of them.
    pub fn add(&mut self, consumer: Consumer, api_keys: &[KeyHash]) {
        // There are fewer consumers than bytes in a configuration, and fewer of those than 2^32.
        let id = ConsumerId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.by_key.extend(api_keys.iter().map(|key| (*key, id)));
        self.all.push(consumer);
    }

    /// The consumer with this API key.
    #[must_use]
    pub fn by_api_key(&self, key: &[u8]) -> Option<ConsumerId> {
        self.by_key.get(&KeyHash::of(key)).copied()
    }

    /// The consumer with this number.
    #[must_use]
    pub fn find(&self, id: ConsumerId) -> Option<&Consumer> {
        self.all.get(id.0 as usize)
    }

    /// The name of a consumer; nothing where there is none.
    #[must_use]
    pub fn name(&self, id: Option<ConsumerId>) -> &str {
        id.and_then(|id| self.find(id)).map_or("", |it| &it.name)
    }
}
