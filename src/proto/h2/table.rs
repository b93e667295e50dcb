//! The tables of HPACK, RFC 7541 2.3: the static one, and the dynamic one of each direction.
//!
//! Invariant: the entries of a dynamic table never count for more than its maximum (RFC 7541 4.1), and its
//! memory is at most twice that. Once it has its capacity, nothing in here allocates.

use std::collections::VecDeque;

/// The size of a dynamic table before a setting changes it, RFC 9113 6.5.2. We never ask for a larger one.
pub(super) const TABLE_BYTES_MAX: usize = 4096;
/// Bytes that an entry counts for, beside its name and value, RFC 7541 4.1.
pub(super) const ENTRY_BYTES: usize = 32;

/// The static table, RFC 7541 appendix A.
#[rustfmt::skip]
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

#[derive(Clone, Copy, Debug)]
struct TableEntry {
    /// Index of the name in the bytes; the value is right behind it.
    start: usize,
    name_len: usize,
    value_len: usize,
    hash: u32,
}

impl TableEntry {
    const fn size(&self) -> usize {
        self.name_len + self.value_len + ENTRY_BYTES
    }
}

/// A dynamic table, RFC 7541 2.3.2.
#[derive(Debug)]
pub(super) struct DynamicTable {
    bytes: Vec<u8>,
    /// The newest first.
    entries: VecDeque<TableEntry>,
    size: usize,
    max: usize,
}

impl Default for DynamicTable {
    fn default() -> Self {
        Self { bytes: Vec::new(), entries: VecDeque::new(), size: 0, max: TABLE_BYTES_MAX }
    }
}

impl DynamicTable {
    pub(super) const fn max(&self) -> usize {
        self.max
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max.min(TABLE_BYTES_MAX);
        self.evict(0);
    }

    /// The name and value with this index, counted from 0 at the newest.
    pub(super) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(index)?;
        let name_end = entry.start + entry.name_len;
        let name = self.bytes.get(entry.start..name_end)?;
        Some((name, self.bytes.get(name_end..name_end + entry.value_len)?))
    }

    /// Whether a field of these lengths fits into an empty table.
    pub(super) const fn can_hold(&self, name_len: usize, value_len: usize) -> bool {
        name_len + value_len + ENTRY_BYTES <= self.max
    }

    /// Adds a field. One that is larger than the table empties it, RFC 7541 4.4.
    pub(super) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let more = name.len() + value.len();
        self.evict(more + ENTRY_BYTES);
        if more + ENTRY_BYTES > self.max {
            return;
        }
        if self.bytes.len() + more > 2 * TABLE_BYTES_MAX {
            self.compact();
        }
        let hash = hash(name, value);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        let entry = TableEntry { start, name_len: name.len(), value_len: value.len(), hash };
        self.size += entry.size();
        self.entries.push_front(entry);
    }

    /// The index of this field.
    pub(super) fn find(&self, name: &[u8], value: &[u8]) -> Option<usize> {
        let hash = hash(name, value);
        let mut indexes = 0..self.entries.len();
        indexes.find(|index| {
            self.entries.get(*index).is_some_and(|entry| entry.hash == hash)
                && self.get(*index) == Some((name, value))
        })
    }

    fn evict(&mut self, more: usize) {
        while self.size + more > self.max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    /// Moves the bytes that entries have to the front. The others are at least half of all.
    fn compact(&mut self) {
        let first = self.entries.back().map_or(self.bytes.len(), |oldest| oldest.start);
        self.bytes.drain(..first);
        for entry in &mut self.entries {
            entry.start -= first;
        }
    }
}

/// FNV-1a: tells most fields apart without a look at their bytes.
fn hash(name: &[u8], value: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    value.iter().fold(name.iter().fold(0x811c_9dc5, step), step)
}
