//! The header section of a message: owned bytes and a table of spans into them.
//!
//! Editing a message is editing the table: removing leaves a tombstone, adding appends the line to
//! the bytes. Nothing moves, so spans stay good until `clear`. Every line in the bytes, parsed or
//! added, has the form that goes on the wire, so that encoding copies runs of lines at once.
//!
//! Invariants: no name or value in the table holds a line end or another control byte (RFC 9110
//! 5.5), not even one that a filter put there; the bytes are never more than [`BYTES_MAX`]. Once the two vectors
//! have their capacity, nothing in here allocates.

use super::{HeaderId, IdSet};
use crate::path::{self, Rules};
use crate::violation::Violation;

/// The most bytes that a table owns; a field that would go beyond is not added. Far above any head
/// limit (`head_bytes_max` and the gateway's own fields), and low enough for the sums of spans to fit a `u32`.
pub const BYTES_MAX: usize = 1 << 30;

/// A piece of the bytes that a [`Headers`] owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Index of the first byte.
    pub start: u32,
    /// Number of bytes; 0 for nothing.
    pub len: u32,
}

impl Span {
    /// Nothing.
    pub(crate) const EMPTY: Self = Self { start: 0, len: 0 };

    /// `len` bytes from `start`. Both are below [`BYTES_MAX`]: larger ones saturate, and such a
    /// span reads as nothing.
    #[inline]
    pub(crate) fn new(start: usize, len: usize) -> Self {
        debug_assert!(start <= BYTES_MAX && len <= BYTES_MAX, "a span within BYTES_MAX");
        Self { start: to_u32(start), len: to_u32(len) }
    }

    /// `len` bytes from `start` of a head, which is not larger than `HEAD_BYTES_LIMIT`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a head is no larger than 16 MiB")]
    pub(crate) const fn within_head(start: usize, len: usize) -> Self {
        debug_assert!(start + len <= BYTES_MAX, "a head within BYTES_MAX");
        Self { start: start as u32, len: len as u32 }
    }

    /// Index of the first byte.
    #[inline]
    pub(crate) const fn start(self) -> usize {
        self.start as usize
    }

    /// Index behind the last byte.
    #[inline]
    pub(crate) const fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// The bytes; none if the span is not one of theirs.
    #[inline]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start()..self.end()).unwrap_or_default()
    }
}

#[inline]
fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One field of the table.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Which header; [`HeaderId::Removed`] for a tombstone.
    pub id: HeaderId,
    /// The name as it came; of length 0 where it is `id.name()`.
    pub name: Span,
    /// The value, without white space around it.
    pub value: Span,
    /// Whether the bytes from the start of the name to two bytes behind the value are this field
    /// as it goes on the wire: `name: value CRLF`.
    pub(crate) whole: bool,
}

/// The header (or trailer) fields of one message, in order.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    fields: Vec<Field>,
    /// A clear bit proves that no field has this id; a set one is a hint.
    present: IdSet,
    /// Tombstones among the fields.
    removed: usize,
}

impl Headers {
    /// No fields and no memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), fields: Vec::new(), present: IdSet::EMPTY, removed: 0 }
    }

    /// Removes everything and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.present = IdSet::EMPTY;
        self.removed = 0;
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len() - self.removed
    }

    /// Whether there are no fields.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fields in order: id, name, value.
    pub fn iter(&self) -> impl Iterator<Item = (HeaderId, &[u8], &[u8])> {
        let live = self.fields.iter().filter(|field| field.id != HeaderId::Removed);
        live.map(|field| (field.id, self.name_of(field), field.value.of(&self.bytes)))
    }

    /// The first value of a known header.
    #[inline]
    #[must_use]
    pub fn get(&self, id: HeaderId) -> Option<&[u8]> {
        self.all(id).next()
    }

    /// Whether a known header is there, with any value.
    #[inline]
    #[must_use]
    pub fn contains(&self, id: HeaderId) -> bool {
        self.get(id).is_some()
    }

    /// All values of a known header, in order.
    #[inline]
    pub fn all(&self, id: HeaderId) -> impl Iterator<Item = &[u8]> {
        // Most questions are about headers that are not there: one bit answers them.
        let fields = if self.present.has(id) { self.fields.as_slice() } else { &[] };
        fields.iter().filter(move |field| field.id == id).map(|field| field.value.of(&self.bytes))
    }

    /// The first value of the header with this name, in any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.all_named(name).next()
    }

    /// All values of the header with this name, in any case, in order.
    pub fn all_named(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let id = HeaderId::of(name);
        let fields = if self.present.has(id) { self.fields.as_slice() } else { &[] };
        fields
            .iter()
            .filter(move |field| is_named(field, id, name, &self.bytes))
            .map(|field| field.value.of(&self.bytes))
    }

    /// Removes all fields of a known header; says whether there were any.
    #[inline]
    pub fn remove(&mut self, id: HeaderId) -> bool {
        if id.is_own() { self.remove_all(IdSet::of([id])) > 0 } else { self.remove_shared(id) }
    }

    /// Removes all fields with this name, in any case; says whether there were any.
    pub fn remove_named(&mut self, name: &[u8]) -> bool {
        let id = HeaderId::of(name);
        if id != HeaderId::Other {
            return self.remove(id);
        }
        let Self { bytes, fields, .. } = self;
        let count = bury(fields, |field| is_named(field, id, name, bytes));
        self.removed += count;
        count > 0
    }

    /// Appends a field of a known header.
    ///
    /// White space around the value goes, and a control byte in it becomes a space (RFC 9110 5.5): no
    /// value that a filter makes of a client's bytes can end the line. Does nothing for
    /// [`HeaderId::Other`] and [`HeaderId::Removed`].
    #[inline]
    pub fn push(&mut self, id: HeaderId, value: &[u8]) {
        if !id.name().is_empty() {
            self.append(id, id.name().as_bytes(), value);
        }
    }

    /// Appends a field, as [`Headers::push`] does. A name that is not a token (RFC 9110 5.6.2) is
    /// not added: configuration and h2 translation have checked theirs.
    pub fn push_named(&mut self, name: &[u8], value: &[u8]) {
        if is_token(name) {
            self.append(HeaderId::of(name), name, value);
        }
    }

    /// Puts one field in place of all those of a known header.
    pub fn set(&mut self, id: HeaderId, value: &[u8]) {
        self.remove(id);
        self.push(id, value);
    }

    /// Appends a member to a list header such as `x-forwarded-for`: the values there are, and this
    /// one, become one field (RFC 9110 5.3).
    pub fn append_list(&mut self, id: HeaderId, value: &[u8]) {
        if !self.present.has(id) || id.name().is_empty() {
            return self.push(id, value);
        }
        self.join(id, b", ", value);
    }

    /// Puts one field in place of all those of a known header: their values and this one, with
    /// `between` between them.
    fn join(&mut self, id: HeaderId, between: &[u8], value: &[u8]) {
        if !self.has_room(id.name().len() + value.len()) {
            return;
        }
        let (start, value_start) = self.start_line(id.name().as_bytes(), value.len());
        let Self { bytes, fields, removed, .. } = self;
        for field in fields.iter_mut().filter(|field| field.id == id) {
            if field.value.len > 0 && bytes.len() < BYTES_MAX / 2 {
                if bytes.len() > value_start {
                    bytes.extend_from_slice(between);
                }
                bytes.extend_from_within(field.value.start()..field.value.end());
            }
            field.id = HeaderId::Removed;
            *removed += 1;
        }
        let value = trimmed(value);
        if !value.is_empty() && self.bytes.len() > value_start {
            self.bytes.extend_from_slice(between);
        }
        append_clean(&mut self.bytes, value);
        self.finish_line(id, start, value_start);
    }

    /// Makes one field of several Cookie fields, RFC 9113 8.2.3.
    pub(crate) fn join_cookies(&mut self) {
        self.join(HeaderId::Cookie, b"; ", b"");
    }

    /// Appends all that `lines` holds, at the price of one copy: for fields that many heads get.
    pub fn append_all(&mut self, lines: &Self) {
        if !self.has_room(lines.bytes.len()) {
            return;
        }
        let offset = to_u32(self.bytes.len());
        let moved = |span: Span| Span { start: span.start.saturating_add(offset), ..span };
        self.bytes.extend_from_slice(&lines.bytes);
        self.fields.extend(lines.fields.iter().map(|field| Field {
            name: moved(field.name),
            value: moved(field.value),
            ..*field
        }));
        self.present = self.present.and(lines.present);
        self.removed += lines.removed;
    }

    /// Removes all fields of these known headers.
    #[inline]
    pub fn remove_each<const N: usize>(&mut self, ids: [HeaderId; N]) {
        if ids.iter().all(|id| id.is_own()) {
            self.remove_all(IdSet::of(ids));
        } else {
            for id in ids {
                self.remove(id);
            }
        }
    }

    /// The owned bytes, for spans.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The table, tombstones included.
    #[inline]
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The ids that may be there.
    #[inline]
    pub(crate) const fn present(&self) -> IdSet {
        self.present
    }

    /// Puts one field in place of all those of a known header; its value is a copy of bytes that
    /// are there already and free of controls.
    pub(crate) fn set_copy(&mut self, id: HeaderId, value: Span) {
        self.remove(id);
        let name = id.name().as_bytes();
        if !self.has_room(name.len() + value.len as usize) || value.end() > self.bytes.len() {
            return;
        }
        let (start, value_start) = self.start_line(name, value.len as usize);
        self.bytes.extend_from_within(value.start()..value.end());
        self.finish_line(id, start, value_start);
    }

    /// The value of the last entry of the table.
    pub(crate) fn last_value(&self) -> Span {
        self.fields.last().map_or(Span::EMPTY, |field| field.value)
    }

    /// Takes the bytes of a head, of which the fields added so far are.
    #[inline]
    pub(crate) fn load(&mut self, head: &[u8]) {
        debug_assert!(self.bytes.is_empty(), "load once after clear");
        self.bytes.extend_from_slice(head);
    }

    /// Appends a field. Its spans lie in the bytes that are loaded, or will be next.
    #[inline]
    pub(crate) fn add(&mut self, field: Field) {
        self.present.insert(field.id);
        self.fields.push(field);
    }

    /// Appends bytes that belong to no field, such as a new target; the span is empty when they do
    /// not fit.
    pub(crate) fn append_loose(&mut self, piece: &[u8]) -> Span {
        let start = self.bytes.len();
        if self.has_room(piece.len()) {
            self.bytes.extend_from_slice(piece);
        }
        Span::new(start, self.bytes.len() - start)
    }

    /// Appends text that belongs to no field; control bytes become spaces.
    pub(crate) fn append_text(&mut self, text: &[u8]) -> Span {
        let start = self.bytes.len();
        if self.has_room(text.len()) {
            append_clean(&mut self.bytes, text);
        }
        Span::new(start, self.bytes.len() - start)
    }

    /// Appends bytes, and behind them a copy of some that are there already.
    pub(crate) fn append_copy(&mut self, first: &[u8], then: Span) -> Span {
        let start = self.bytes.len();
        if self.has_room(first.len() + then.len as usize) && then.end() <= self.bytes.len() {
            self.bytes.extend_from_slice(first);
            self.bytes.extend_from_within(then.start()..then.end());
        }
        Span::new(start, self.bytes.len() - start)
    }

    /// Appends `target`, of which `path_len` bytes are the path, with the path in the form that the
    /// rules ask for; says where it is, and how long the path became. Appends nothing if it has that
    /// form already.
    pub(crate) fn append_settled(
        &mut self,
        target: Span,
        path_len: usize,
        rules: Rules,
    ) -> Result<Option<(Span, u32)>, Violation> {
        if !self.has_room(target.len as usize) {
            return Err(Violation::HeadTooLarge);
        }
        let start = self.bytes.len();
        let path_end = (target.start() + path_len).min(target.end());
        let settled = path::settle(&mut self.bytes, target.start()..path_end, rules);
        if settled.is_err() || self.bytes.len() == start {
            self.bytes.truncate(start);
            return settled.map(|()| None);
        }
        let path_len = to_u32(self.bytes.len() - start);
        self.bytes.extend_from_within(path_end..target.end());
        Ok(Some((Span::new(start, self.bytes.len() - start), path_len)))
    }

    /// Removes the fields that the set holds; gives their number.
    #[inline]
    pub(crate) fn remove_all(&mut self, ids: IdSet) -> usize {
        if !self.present.has_any(ids) {
            return 0;
        }
        let mut count = 0;
        for field in &mut self.fields {
            if ids.has(field.id) && field.id != HeaderId::Removed {
                field.id = HeaderId::Removed;
                count += 1;
            }
        }
        self.present.remove(ids);
        self.removed += count;
        count
    }

    /// Removes the fields of a name that shares its bit; says whether there were any. The bit stays
    /// set, for the other names that have it.
    fn remove_shared(&mut self, id: HeaderId) -> bool {
        if !self.present.has(id) {
            return false;
        }
        let count = bury(&mut self.fields, |field| field.id == id);
        self.removed += count;
        count > 0
    }

    /// Removes the fields that the values of `list`, comma-separated, name; those
    /// in `kept` stay. The work is bounded by the number of names times that of fields.
    pub(crate) fn remove_listed(&mut self, list: HeaderId, kept: IdSet) {
        let mut known = IdSet::EMPTY;
        for at in 0..self.fields.len() {
            let Some(field) = self.fields.get(at).copied().filter(|field| field.id == list) else {
                continue;
            };
            let Self { bytes, fields, .. } = self;
            for name in field.value.of(bytes).split(|byte| *byte == b',').map(trimmed) {
                match HeaderId::of(name) {
                    HeaderId::Other => {
                        self.removed +=
                            bury(fields, |it| is_named(it, HeaderId::Other, name, bytes));
                    }
                    // Later and at once: `list` itself may be among them.
                    id if id.is_own() => known.insert(id),
                    id => self.removed += bury(fields, |it| it.id == id),
                }
            }
        }
        self.remove_all(known.without(kept));
    }

    fn name_of(&self, field: &Field) -> &[u8] {
        name_of(field, &self.bytes)
    }

    /// Whether `more` bytes and some punctuation may still be added.
    #[inline]
    const fn has_room(&self, more: usize) -> bool {
        more < BYTES_MAX / 2 && self.bytes.len() < BYTES_MAX / 2
    }

    #[inline]
    fn append(&mut self, id: HeaderId, name: &[u8], value: &[u8]) {
        if !self.has_room(name.len() + value.len()) {
            return;
        }
        let (start, value_start) = self.start_line(name, value.len());
        append_clean(&mut self.bytes, trimmed(value));
        self.finish_line(id, start, value_start);
    }

    /// Appends `name: `, and makes room for a value. Says where the line and where the value start.
    #[inline]
    fn start_line(&mut self, name: &[u8], value_len: usize) -> (usize, usize) {
        let start = self.bytes.len();
        // Once, so that the pieces find room.
        self.bytes.reserve(name.len() + value_len + b": \r\n".len());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        (start, self.bytes.len())
    }

    /// Ends the line that starts at `start` and enters it in the table.
    #[inline]
    fn finish_line(&mut self, id: HeaderId, start: usize, value_start: usize) {
        let name = Span::new(start, value_start - 2 - start);
        let value = Span::new(value_start, self.bytes.len() - value_start);
        self.bytes.extend_from_slice(b"\r\n");
        self.add(Field { id, name, value, whole: true });
    }
}

/// The name of a field of the table over these bytes.
#[inline]
pub(crate) fn name_of<'a>(field: &Field, bytes: &'a [u8]) -> &'a [u8] {
    if field.name.len == 0 { field.id.name().as_bytes() } else { field.name.of(bytes) }
}

#[inline]
fn is_named(field: &Field, id: HeaderId, name: &[u8], bytes: &[u8]) -> bool {
    // A known id settles it; among the others the bytes are compared.
    field.id == id && (id != HeaderId::Other || field.name.of(bytes).eq_ignore_ascii_case(name))
}

/// Makes tombstones of the fields for which `is_meant` holds; says how many.
fn bury(fields: &mut [Field], is_meant: impl Fn(&Field) -> bool) -> usize {
    let mut count = 0;
    for field in fields.iter_mut().filter(|field| is_meant(field)) {
        field.id = HeaderId::Removed;
        count += 1;
    }
    count
}

/// Appends a value in which control bytes become spaces.
#[inline]
fn append_clean(bytes: &mut Vec<u8>, value: &[u8]) {
    let start = bytes.len();
    bytes.extend_from_slice(value);
    if has_control(value) {
        for byte in bytes.iter_mut().skip(start).filter(|byte| is_control(**byte)) {
            *byte = b' ';
        }
    }
}

/// Whether a field value may not hold this byte, RFC 9110 5.5: a control other than HTAB.
#[inline]
pub(crate) const fn is_control(byte: u8) -> bool {
    ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f)
}

#[inline]
fn has_control(value: &[u8]) -> bool {
    // Without an early exit the loop becomes vector code.
    value.iter().fold(false, |found, byte| found | is_control(*byte))
}

/// Without the white space around it, RFC 9110 5.6.3: SP and HTAB.
#[inline]
pub(crate) fn trimmed(value: &[u8]) -> &[u8] {
    trimmed_end(trimmed_start(value))
}

/// Without the white space in front of it.
#[inline]
pub(crate) fn trimmed_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

/// Without the white space behind it.
#[inline]
pub(crate) fn trimmed_end(mut value: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether this is a token, RFC 9110 5.6.2.
#[must_use]
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a token may hold this byte, RFC 9110 5.6.2.
#[inline]
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
