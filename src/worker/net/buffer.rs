//! A core's buffers: fixed sizes, lent by a pool that counts their bytes against a budget.
//!
//! A [`Buf`] goes home when it is dropped. The pool never refuses one: an exchange that has
//! started must be able to end. Instead, [`BufferPool::has_room`] is asked before an exchange starts,
//! and what one exchange can hold is bounded (see `exchange`), so the budget is exceeded by no
//! more than that.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The sizes a buffer comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 3.5 KiB: waiting for a head that has not begun to arrive. Not a power of two: the first
    /// bytes of hundreds of buffers, 4 KiB apart, would share a few sets of the processor's caches.
    Small,
    /// 16 KiB: heads, and messages that come in one piece.
    Medium,
    /// 68 KiB: bodies. The largest that a read fills at once on loopback and on a 10 GbE path, as
    /// the kernel's receive window stands by default, is 64 KiB; with it fit the head in front and
    /// the framing behind.
    Large,
}

/// Bytes kept free at the front of a buffer before it is read into. A message is encoded in front
/// of its body in the buffer it came in: the room is that of the old head and this, which takes
/// what the gateway adds to a head (some 200 bytes) or the size line of a chunk.
pub const HEADROOM: usize = 256;
/// Bytes that reads leave free at the end of a buffer, for "\r\n0\r\n\r\n".
pub const TAILROOM: usize = 16;

/// Free buffers that a size class keeps for reuse; more are given back to the allocator. 512
/// Medium buffers are 8 MiB per core: what a burst of that many exchanges needs at once.
const FREE_MAX: usize = 512;

impl Size {
    /// Bytes of a buffer of this size.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 7 << 9,
            Self::Medium => 16 << 10,
            Self::Large => 68 << 10,
        }
    }
}

/// A core's pool of buffers. Cloning gives another handle to the same pool.
#[derive(Clone, Debug)]
pub struct BufferPool(Rc<PoolState>);

#[derive(Debug)]
struct PoolState {
    budget: usize,
    lent_bytes: Cell<usize>,
    lent: Cell<usize>,
    small: Free,
    medium: Free,
    large: Free,
}

/// The free buffers of one size, the one used last on top.
type Free = RefCell<Vec<Box<Memory>>>;

impl PoolState {
    const fn free(&self, size: Size) -> &Free {
        match size {
            Size::Small => &self.small,
            Size::Medium => &self.medium,
            Size::Large => &self.large,
        }
    }
}

impl BufferPool {
    /// A pool whose lent buffers should stay below `budget` bytes.
    #[must_use]
    pub fn new(budget: usize) -> Self {
        Self(Rc::new(PoolState {
            budget,
            lent_bytes: Cell::new(0),
            lent: Cell::new(0),
            small: Free::default(),
            medium: Free::default(),
            large: Free::default(),
        }))
    }

    /// Lends an empty buffer, the one that came home last if there is one.
    #[must_use]
    pub fn take(&self, size: Size) -> Buf {
        let memory = self.0.free(size).borrow_mut().pop();
        self.lend(memory.unwrap_or_else(|| Memory::new(size.bytes())))
    }

    /// Lends a buffer of at least `bytes` bytes, outside the size classes where it must be: for a
    /// head longer than [`Size::Large`], which a listener may allow.
    #[must_use]
    pub fn take_at_least(&self, bytes: usize) -> Buf {
        match [Size::Small, Size::Medium, Size::Large].into_iter().find(|s| s.bytes() >= bytes) {
            Some(size) => self.take(size),
            None => self.lend(Memory::new(bytes)),
        }
    }

    /// Whether a new exchange may start.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.0.lent_bytes.get() < self.0.budget
    }

    /// Whether half of the budget is left: room to keep a buffer for what may come.
    #[must_use]
    pub fn has_slack(&self) -> bool {
        self.0.lent_bytes.get() < self.0.budget / 2
    }

    /// Buffers that are lent now.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.0.lent.get()
    }

    /// Bytes that are lent now.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.0.lent_bytes.get()
    }

    /// Bytes that wait to be lent again.
    #[must_use]
    pub fn idle_bytes(&self) -> usize {
        let idle = |size: Size| self.0.free(size).borrow().len() * size.bytes();
        [Size::Small, Size::Medium, Size::Large].into_iter().map(idle).sum()
    }

    fn lend(&self, mut memory: Box<Memory>) -> Buf {
        self.0.lent_bytes.set(self.0.lent_bytes.get() + memory.bytes.len());
        self.0.lent.set(self.0.lent.get() + 1);
        memory.pool = Some(self.clone());
        Buf(Some(memory))
    }
}

/// Memory of a fixed size of which `start..end` is filled.
#[derive(Debug)]
struct Memory {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Who lends it; nobody while it is at home.
    pool: Option<BufferPool>,
}

impl Memory {
    fn new(len: usize) -> Box<Self> {
        Box::new(Self { bytes: vec![0; len].into_boxed_slice(), start: 0, end: 0, pool: None })
    }
}

/// A lent buffer: reads append at the end of the filled part, writes consume from its start.
///
/// One pointer, because it moves through many futures. LLVM keeps what is larger than two words in
/// memory, and then copies the futures that it moves into whole (some 4 KiB per exchange).
#[derive(Debug)]
pub struct Buf(
    /// `None` while it is dropped.
    Option<Box<Memory>>,
);

impl Buf {
    /// The filled part.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.0.as_deref().and_then(|it| it.bytes.get(it.start..it.end)).unwrap_or_default()
    }

    /// The filled part, to be changed in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        let it = self.0.as_deref_mut();
        it.and_then(|it| it.bytes.get_mut(it.start..it.end)).unwrap_or_default()
    }

    /// The free end up to [`TAILROOM`], to be written before [`Buf::advance`].
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let it = self.0.as_deref_mut();
        it.and_then(|it| {
            let limit = it.bytes.len().saturating_sub(TAILROOM);
            it.bytes.get_mut(it.end..limit)
        })
        .unwrap_or_default()
    }

    /// The free front, written before [`Buf::extend_front`]; the last byte of it is the one right before
    /// the filled part.
    pub fn front_mut(&mut self) -> &mut [u8] {
        let it = self.0.as_deref_mut();
        it.and_then(|it| it.bytes.get_mut(..it.start)).unwrap_or_default()
    }

    /// Counts `n` bytes of the free end as filled.
    pub fn advance(&mut self, n: usize) {
        if let Some(it) = &mut self.0 {
            debug_assert!(it.end + n <= it.bytes.len());
            it.end = (it.end + n).min(it.bytes.len());
        }
    }

    /// Counts `n` bytes of the free front as filled.
    pub fn extend_front(&mut self, n: usize) {
        if let Some(it) = &mut self.0 {
            debug_assert!(n <= it.start);
            it.start = it.start.saturating_sub(n);
        }
    }

    /// Drops `n` bytes from the front of the filled part.
    pub fn consume(&mut self, n: usize) {
        if let Some(it) = &mut self.0 {
            debug_assert!(it.start + n <= it.end);
            it.start = (it.start + n).min(it.end);
        }
    }

    /// Keeps the first `n` bytes of the filled part.
    pub fn truncate(&mut self, n: usize) {
        if let Some(it) = &mut self.0 {
            it.end = it.end.min(it.start + n);
        }
    }

    /// Appends `bytes`, into [`TAILROOM`] too; `false`, and nothing appended, when they do not fit.
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(it) = &mut self.0 else { return false };
        match it.bytes.get_mut(it.end..it.end + bytes.len()) {
            Some(spare) => {
                spare.copy_from_slice(bytes);
                it.end += bytes.len();
                true
            }
            None => false,
        }
    }

    /// Empties the buffer and sets where the next byte goes: `headroom` bytes from the front.
    pub fn clear(&mut self, headroom: usize) {
        if let Some(it) = &mut self.0 {
            it.start = headroom.min(it.bytes.len());
            it.end = it.start;
        }
    }

    /// This buffer's filled part in a buffer of at least `bytes` bytes of the same pool, behind
    /// [`HEADROOM`].
    #[must_use]
    pub fn grown(self, bytes: usize) -> Self {
        debug_assert!(bytes >= HEADROOM + self.len(), "the filled part fits");
        let Some(pool) = self.0.as_ref().and_then(|memory| memory.pool.as_ref()) else {
            return self;
        };
        let mut larger = pool.take_at_least(bytes);
        larger.clear(HEADROOM);
        let _ = larger.append(self.filled());
        larger
    }

    /// Filled bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |it| it.end - it.start)
    }

    /// Whether nothing is filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that a read can still add: the length of [`Buf::spare_mut`].
    #[must_use]
    pub fn room(&self) -> usize {
        let it = self.0.as_ref();
        it.map_or(0, |it| it.bytes.len().saturating_sub(TAILROOM).saturating_sub(it.end))
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let Some(mut memory) = self.0.take() else { return };
        let Some(BufferPool(shared)) = memory.pool.take() else { return };
        shared.lent_bytes.set(shared.lent_bytes.get() - memory.bytes.len());
        shared.lent.set(shared.lent.get() - 1);
        let class = match memory.bytes.len() {
            n if n == Size::Small.bytes() => Size::Small,
            n if n == Size::Medium.bytes() => Size::Medium,
            n if n == Size::Large.bytes() => Size::Large,
            _ => return,
        };
        memory.start = 0;
        memory.end = 0;
        let mut free = shared.free(class).borrow_mut();
        if free.len() < FREE_MAX {
            free.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_comes_home_and_is_lent_again() {
        let pool = BufferPool::new(1 << 20);
        let mut buf = pool.take(Size::Medium);
        assert!(buf.append(b"abc"));
        let at = buf.filled().as_ptr();
        assert_eq!((pool.lent(), pool.lent_bytes()), (1, Size::Medium.bytes()));
        drop(buf);
        assert_eq!((pool.lent(), pool.lent_bytes()), (0, 0));
        let mut again = pool.take(Size::Medium);
        assert!(again.is_empty());
        assert!(again.append(b"abc"));
        assert_eq!(again.filled().as_ptr(), at);
    }

    #[test]
    fn the_budget_is_seen_before_an_exchange_starts() {
        let pool = BufferPool::new(Size::Medium.bytes());
        assert!(pool.has_room());
        let held = pool.take(Size::Medium);
        assert!(!pool.has_room());
        drop(held);
        assert!(pool.has_room());
    }

    #[test]
    fn a_grown_buffer_holds_the_same_bytes_and_gives_the_smaller_one_back() {
        let pool = BufferPool::new(1 << 20);
        let mut buf = pool.take(Size::Small);
        buf.clear(HEADROOM);
        assert!(buf.append(b"half a head"));
        let buf = buf.grown(Size::Small.bytes() + 1);
        assert_eq!(buf.filled(), b"half a head");
        assert_eq!(buf.room(), Size::Medium.bytes() - HEADROOM - buf.len() - TAILROOM);
        assert_eq!((pool.lent(), pool.lent_bytes()), (1, Size::Medium.bytes()));
    }

    #[test]
    fn front_and_tail_room_frame_a_body_in_place() {
        let pool = BufferPool::new(1 << 20);
        let mut buf = pool.take(Size::Small);
        buf.clear(HEADROOM);
        assert!(buf.append(b"body"));
        let front = buf.front_mut();
        let at = front.len() - 3;
        front[at..].copy_from_slice(b"4\r\n");
        buf.extend_front(3);
        assert!(buf.append(b"\r\n"));
        assert_eq!(buf.filled(), b"4\r\nbody\r\n");
        buf.consume(3);
        buf.truncate(4);
        assert_eq!(buf.filled(), b"body");
    }
}
