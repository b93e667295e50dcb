//! The edges of the tree of hosts and paths: each leads from a node, by a text, to a node.
//!
//! One hash table with open addressing holds the edges of all nodes, and one array holds their
//! texts. The map of the standard library would need a map per node, or keys that own their text.
//! Either way, a copy of the tree would need tens of thousands of allocations.
//!
//! Invariant: at most half of the slots are in use, so a search ends soon. The keys come from the
//! configuration. Clients only look up, so they cannot fill a chain of slots.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::FixedState;

/// All edges.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    /// The hash table. Its length is a power of two, or 0.
    slots: Vec<EdgeSlot>,
    /// The texts of all edges, one behind the other.
    texts: Vec<u8>,
    count: usize,
    /// The length of the longest text. A longer segment cannot match, so it is not hashed.
    text_bytes_max: usize,
}

/// A slot for one edge.
#[derive(Clone, Copy, Debug)]
struct EdgeSlot {
    /// The low bits of the key's hash.
    hash: u32,
    from: u32,
    /// 0 in a free slot: no edge leads to node 0.
    to: u32,
    /// The position of the text in [`Edges::texts`], and its length.
    start: u32,
    bytes: u32,
}

const FREE: EdgeSlot = EdgeSlot { hash: 0, from: 0, to: 0, start: 0, bytes: 0 };

/// The number of slots that the first edge makes.
const SLOTS_MIN: usize = 8;

impl Edges {
    /// The node that the edge from `from` by `text` leads to.
    #[inline]
    pub(super) fn follow(&self, from: u32, text: &[u8]) -> Option<u32> {
        if text.len() > self.text_bytes_max {
            return None;
        }
        let hash = hash(from, text);
        // A search begins at the slot that the hash names and goes on slot by slot. A free slot ends
        // it, because edges are never removed. Half of the slots are free, so there is one.
        let mut at = hash as usize;
        loop {
            let slot = self.slots.get(at & self.mask())?;
            if slot.to == 0 {
                return None;
            }
            if slot.hash == hash && slot.from == from && self.text(slot) == text {
                return Some(slot.to);
            }
            at += 1;
        }
    }

    /// Adds an edge that does not exist yet. `to` is not 0.
    pub(super) fn insert(&mut self, from: u32, text: &[u8], to: u32) {
        debug_assert!(to != 0 && self.follow(from, text).is_none(), "an edge is added once");
        self.count += 1;
        if self.count * 2 > self.slots.len() {
            let larger = (self.slots.len() * 2).max(SLOTS_MIN);
            let old = std::mem::replace(&mut self.slots, vec![FREE; larger]);
            old.into_iter().filter(|slot| slot.to != 0).for_each(|slot| self.place(slot));
        }
        // The texts of a configuration are far below 4 GiB.
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (start, bytes) = (offset(self.texts.len()), offset(text.len()));
        self.place(EdgeSlot { hash: hash(from, text), from, to, start, bytes });
        self.texts.extend_from_slice(text);
        self.text_bytes_max = self.text_bytes_max.max(text.len());
    }

    /// Stores an edge in the first free slot that a search for it visits.
    fn place(&mut self, new: EdgeSlot) {
        let mask = self.mask();
        let mut at = new.hash as usize;
        while let Some(slot) = self.slots.get_mut(at & mask) {
            if slot.to == 0 {
                *slot = new;
                return;
            }
            at += 1;
        }
    }

    /// The bits of a hash that choose a slot. Without slots, the result of the mask is out of bounds.
    #[inline]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }

    #[inline]
    fn text(&self, slot: &EdgeSlot) -> &[u8] {
        let text = self.texts.get(slot.start as usize..);
        text.and_then(|text| text.get(..slot.bytes as usize)).unwrap_or_default()
    }
}

/// The hash of a key. Its seed is fixed, so the same configuration gives the same table.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low bits are all that is wanted")]
fn hash(from: u32, text: &[u8]) -> u32 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write_u32(from);
    hasher.write(text);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_found_by_node_and_text_and_no_other_is() {
        let mut edges = Edges::default();
        assert_eq!(edges.follow(0, b""), None);
        for to in 1..=2000_u32 {
            edges.insert(to % 7, to.to_string().as_bytes(), to);
        }
        edges.insert(3, b"", 3000);
        for to in 1..=2000 {
            let text = to.to_string();
            assert_eq!(edges.follow(to % 7, text.as_bytes()), Some(to));
            assert_eq!(edges.follow((to + 1) % 7, text.as_bytes()), None);
        }
        assert_eq!(edges.follow(3, b""), Some(3000));
        assert_eq!(edges.follow(3, b"20000"), None);
        assert!(edges.slots.len() >= 2 * edges.count);
    }
}
