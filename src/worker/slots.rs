//! Slots: state that outlives a version of the configuration.
//!
//! A listener, an upstream and an endpoint each have a slot on every core. A slot is found by the
//! identity of its object (an id, a name, an address) and follows the object's content: at a switch
//! it compares the new settings with those that it has and takes over the difference. So a change
//! of a timeout costs no connection.
//!
//! An object that a version does not have any more *retires*: its slot takes nothing new, and is
//! forgotten when the last that runs on it has ended. An object that comes back before that is the
//! same one.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The state that a core keeps of one object of the configuration.
pub trait KeptSlot {
    /// The object as a version of the configuration has it.
    type Settings;

    /// The object is in the new version, with these settings. Does nothing where they are as before.
    fn follow(&self, settings: &Self::Settings);

    /// The object is not in the new version.
    fn retire(&self);

    /// Whether nothing runs on it any more. Asked of a slot that has retired.
    fn is_done(&self) -> bool;
}

/// The slots of one kind, each found by its identity.
#[derive(Debug)]
pub struct Kept<K, T>(RefCell<BTreeMap<K, KeptEntry<T>>>);

#[derive(Debug)]
struct KeptEntry<T> {
    slot: Rc<T>,
    retired: bool,
}

impl<K, T> Default for Kept<K, T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: Ord, T: KeptSlot> Kept<K, T> {
    /// The slot of this object.
    pub fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<Rc<T>>
    where
        K: Borrow<Q>,
    {
        self.0.borrow().get(key).map(|entry| Rc::clone(&entry.slot))
    }

    /// Keeps the slot of an object that is in the present version.
    pub fn put(&self, key: K, slot: Rc<T>) {
        self.0.borrow_mut().insert(key, KeptEntry { slot, retired: false });
    }

    /// Follows a version, in which `settings` finds an object. Returns how many slots retire.
    pub fn switch<'s>(&self, settings: impl Fn(&K) -> Option<&'s T::Settings>) -> usize
    where
        T::Settings: 's,
    {
        let mut retiring = 0;
        for (key, entry) in self.0.borrow_mut().iter_mut() {
            match settings(key) {
                Some(settings) => {
                    entry.slot.follow(settings);
                    entry.retired = false;
                }
                None if !entry.retired => {
                    entry.slot.retire();
                    entry.retired = true;
                    retiring += 1;
                }
                None => {}
            }
        }
        self.forget_done();
        retiring
    }

    /// Forgets slots that have retired and on which nothing runs.
    pub fn forget_done(&self) {
        self.0.borrow_mut().retain(|_, entry| !entry.retired || !entry.slot.is_done());
    }

    /// Whether there is no slot.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Calls `each` for every slot, also for those that have retired, in the order of their
    /// identities.
    pub fn for_each(&self, mut each: impl FnMut(&Rc<T>)) {
        self.0.borrow().values().for_each(|entry| each(&entry.slot));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[derive(Debug, Default)]
    struct Counter {
        settings: Cell<u32>,
        retired: Cell<u32>,
        runs: Cell<bool>,
    }

    impl KeptSlot for Counter {
        type Settings = u32;

        fn follow(&self, settings: &u32) {
            self.settings.set(*settings);
        }

        fn retire(&self) {
            self.retired.set(self.retired.get() + 1);
        }

        fn is_done(&self) -> bool {
            !self.runs.get()
        }
    }

    fn version<'s>(objects: &'s [(&'s str, u32)]) -> impl Fn(&Box<str>) -> Option<&'s u32> {
        |key| objects.iter().find(|(name, _)| **name == **key).map(|(_, settings)| settings)
    }

    #[test]
    fn a_slot_follows_its_object_until_that_is_gone() {
        let kept = Kept::<Box<str>, Counter>::default();
        let slot = Rc::<Counter>::default();
        kept.put("a".into(), Rc::clone(&slot));
        assert_eq!(kept.switch(version(&[("b", 1), ("a", 2)])), 0);
        assert_eq!((slot.settings.get(), slot.retired.get()), (2, 0));
        assert_eq!(kept.switch(version(&[("b", 1)])), 1);
        assert_eq!(slot.retired.get(), 1);
        assert!(kept.find("a").is_none());
    }

    #[test]
    fn a_slot_that_is_in_use_is_forgotten_later_and_is_the_same_when_its_object_comes_back() {
        let kept = Kept::<Box<str>, Counter>::default();
        let slot = Rc::<Counter>::default();
        kept.put("a".into(), Rc::clone(&slot));
        slot.runs.set(true);
        assert_eq!(kept.switch(version(&[])), 1);
        assert_eq!(kept.switch(version(&[])), 0, "it retires once");
        assert!(kept.find("a").is_some_and(|it| Rc::ptr_eq(&it, &slot)));
        assert_eq!(kept.switch(version(&[("a", 7)])), 0);
        assert_eq!((slot.settings.get(), slot.retired.get()), (7, 1));
        slot.runs.set(false);
        kept.forget_done();
        assert!(kept.find("a").is_some(), "it is in use again");
        kept.switch(version(&[]));
        assert!(kept.find("a").is_none());
    }
}
