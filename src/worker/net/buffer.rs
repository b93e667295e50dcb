//! A core's buffers: a pool lends them in fixed sizes and counts their bytes against a budget.
//!
//! A [`Buf`] returns to its pool when it is dropped. The pool never refuses one, because an exchange
//! that has started must be able to end. Instead, the worker asks [`BufferPool::has_room`] before it
//! starts an exchange. The bytes that one exchange can hold are bounded (see `exchange`), and so is
//! the excess over the budget.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The size classes of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 3.5 KiB, to wait for a head that has not begun to arrive. Not a power of two: the first bytes
    /// of hundreds of buffers, 4 KiB apart, would share a few sets of the processor's caches.
    Small,
    /// 16 KiB, for heads and for messages that come in one piece.
    Medium,
    /// 68 KiB, for bodies. With the kernel's default receive window, one read brings at most 64 KiB on
    /// loopback and on a 10 GbE path. The rest holds the head in front and the framing behind.
    Large,
}

/// Bytes that stay free at the front of a buffer when a read fills it. The gateway encodes a head in
/// front of its body, in the buffer in which both came. The new head has the room of the old one and
/// these bytes, which are enough for the fields that the gateway adds (some 200 bytes) or for the size
/// line of a chunk.
pub const HEADROOM: usize = 256;
/// Bytes that reads leave free at the end of a buffer, for "\r\n0\r\n\r\n".
pub const TAILROOM: usize = 16;

/// Free buffers that a size class keeps for reuse; it returns more to the allocator. 512 Medium buffers
/// are 8 MiB per core, enough for a burst of 512 exchanges.
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

/// The free buffers of one size; the one that was used last is on top.
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

    /// Lends an empty buffer: the one that came back last, if there is one.
    #[must_use]
    pub fn take(&self, size: Size) -> Buf {
        let memory = self.0.free(size).borrow_mut().pop();
        self.lend(memory.unwrap_or_else(|| Memory::new(size.bytes())))
    }

    /// Lends a buffer of at least `bytes` bytes. It is outside the size classes if `bytes` is more than
    /// [`Size::Large`]: a listener may allow heads of that length.
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

    /// Whether half of the budget is left, so that an idle connection may keep a buffer.
    #[must_use]
    pub fn has_slack(&self) -> bool {
        self.0.lent_bytes.get() < self.0.budget / 2
    }

    /// The number of buffers that are lent now.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.0.lent.get()
    }

    /// The bytes that are lent now.
    #[must_use]
    pub fn lent_bytes(&self) -> usize {
        self.0.lent_bytes.get()
    }

    /// The bytes of free buffers.
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

/// Memory of a fixed size; `start..end` is the filled part.
#[derive(Debug)]
struct Memory {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// The pool that lends it; `None` while it is free.
    pool: Option<BufferPool>,
}

impl Memory {
    fn new(len: usize) -> Box<Self> {
        Box::new(Self { bytes: vec![0; len].into_boxed_slice(), start: 0, end: 0, pool: None })
    }
}

/// A lent buffer: reads append at the end of the filled part, writes consume from its start.
///
/// It is one pointer, because it moves through many futures. LLVM keeps values of more than two words
/// in memory, and then copies whole futures when such a value moves into them (some 4 KiB per
/// exchange).
#[derive(Debug)]
pub struct Buf(
    /// `None` only during the drop.
    Option<Box<Memory>>,
);

impl Buf {
    /// The filled part.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.0.as_deref().and_then(|it| it.bytes.get(it.start..it.end)).unwrap_or_default()
    }

    /// The filled part, to change it in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        let it = self.0.as_deref_mut();
        it.and_then(|it| it.bytes.get_mut(it.start..it.end)).unwrap_or_default()
    }

    /// The free end up to [`TAILROOM`]. Write there, then call [`Buf::advance`].
    pub fn spare_mut(&mut self) -> &mut [u8] {
        let it = self.0.as_deref_mut();
        it.and_then(|it| {
            let limit = it.bytes.len().saturating_sub(TAILROOM);
            it.bytes.get_mut(it.end..limit)
        })
        .unwrap_or_default()
    }

    /// The free front; its last byte is right before the filled part. Write there, then call
    /// [`Buf::extend_front`].
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

    /// Appends `bytes`, also into [`TAILROOM`]. If they do not fit, appends nothing and returns `false`.
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

    /// Empties the buffer, and leaves `headroom` bytes free in front of the next byte.
    pub fn clear(&mut self, headroom: usize) {
        if let Some(it) = &mut self.0 {
            it.start = headroom.min(it.bytes.len());
            it.end = it.start;
        }
    }

    /// Moves the filled part into a buffer of at least `bytes` bytes from the same pool, behind
    /// [`HEADROOM`], and gives this buffer back.
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

    /// An empty buffer of the same size, from the same pool, with the same room at its front.
    #[must_use]
    pub fn sibling(&self) -> Self {
        let Some(memory) = &self.0 else { return Self(None) };
        let Some(pool) = &memory.pool else { return Self(None) };
        let mut sibling = pool.take_at_least(memory.bytes.len());
        sibling.clear(memory.start);
        sibling
    }

    /// The number of bytes that it has altogether.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |it| it.bytes.len())
    }

    /// The number of filled bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |it| it.end - it.start)
    }

    /// Whether nothing is filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of bytes that a read can still add: the length of [`Buf::spare_mut`].
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
        // Memory outside the size classes goes back to the allocator.
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
    fn a_dropped_buffer_goes_back_to_its_pool_and_is_lent_again() {
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
    fn a_pool_has_no_room_once_its_budget_is_lent() {
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
