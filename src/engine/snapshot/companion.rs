//! An object that goes with a snapshot, of a type that this crate does not know.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The object, shared by all copies of the snapshot. Two are equal if the object is the same one. The control thread attaches it, and workers look
/// into it: certificates, whose types belong to the worker.
#[derive(Clone, Default)]
pub struct Companion(Option<Arc<dyn Any + Send + Sync>>);

impl Companion {
    /// An object to go with a snapshot.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(object: Arc<T>) -> Self {
        Self(Some(object))
    }

    /// The object, if there is one of this type.
    #[must_use]
    pub fn find<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }

    /// A share in the object, if there is one of this type.
    #[must_use]
    pub fn share<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.as_ref()?).downcast().ok()
    }
}

impl PartialEq for Companion {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Companion {}

/// Without the object: it may hold keys.
impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Companion").field(&self.0.is_some()).finish()
    }
}
