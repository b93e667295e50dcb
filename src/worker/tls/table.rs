//! The TLS objects of a version of the configuration, shared by all cores.
//!
//! The control thread makes the table and attaches it to the snapshot, so it comes to a core with its
//! version and goes back with it: no core ever frees a certificate that belongs to the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use engine::snapshot::{ListenerId, Snapshot};

use crate::conn::tls::ServerTls;

/// See the module.
#[derive(Debug, Default)]
pub struct TlsTable {
    /// Those of listeners.
    pub listeners: HashMap<ListenerId, Arc<ServerTls>>,
}

impl TlsTable {
    /// The table of a version, if it has TLS.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Option<&Self> {
        snapshot.companion.find()
    }

    /// The TLS of a listener.
    #[must_use]
    pub fn listener(snapshot: &Snapshot, id: ListenerId) -> Option<Arc<ServerTls>> {
        Self::of(snapshot)?.listeners.get(&id).map(Arc::clone)
    }
}
