//! The filters of one exchange on their way: their memory, and the bodies that pass through them.

use std::cell::{Cell, RefCell};

use engine::auth::Identity;
use engine::filter::{BodyFilter, BodyVerdict, Memo};
use engine::reason::Reason;

use crate::net::buffer::BufferPool;
use crate::side::{Chunk, buffer_of};

/// The filters of one exchange on their way.
#[derive(Debug, Default)]
pub(super) struct FilterRun {
    /// The memory of each filter, in the order of the request hooks; empty until one is used.
    pub(super) memos: RefCell<Vec<Memo>>,
    /// The identity of the request, as far as filters have found it out.
    pub(super) identity: RefCell<Identity>,
    /// Filters that see the request's body as it passes.
    pub(super) body: RefCell<Vec<Box<dyn BodyFilter>>>,
    /// The longest body that a client may send, where a filter has set it.
    pub(super) body_bytes_max: Cell<Option<u64>>,
}

/// Filters that a body passes through, in order.
#[derive(Debug, Default)]
pub(super) struct BodyFilters {
    pub(super) filters: Vec<Box<dyn BodyFilter>>,
    /// Two of them take turns as input and output; their memory stays.
    pub(super) out: [Vec<u8>; 2],
}

impl BodyFilters {
    /// Whether no filter sees the body.
    pub(super) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Passes a piece through the filters.
    pub(super) fn pass(&mut self, chunk: Chunk, buffers: &BufferPool) -> Result<Chunk, Reason> {
        if self.is_empty() {
            return Ok(chunk);
        }
        pass(&mut self.filters, &mut self.out, chunk, buffers)
    }
}

/// Passes a piece through `filters`. A filter that holds everything back leaves an empty piece.
pub(super) fn pass(
    filters: &mut [Box<dyn BodyFilter>],
    out: &mut [Vec<u8>; 2],
    chunk: Chunk,
    buffers: &BufferPool,
) -> Result<Chunk, Reason> {
    let [input, output] = out;
    // The piece is still the one in `chunk`, and not yet the one in `input`.
    let mut untouched = true;
    for filter in filters {
        output.clear();
        let piece = if untouched { chunk.buf.filled() } else { &**input };
        match filter.push(piece, chunk.last, output) {
            BodyVerdict::Pass => {}
            BodyVerdict::Replace => {
                std::mem::swap(input, output);
                untouched = false;
            }
            BodyVerdict::Refuse(reason) => return Err(reason),
        }
    }
    if untouched {
        return Ok(chunk);
    }
    Ok(Chunk { buf: buffer_of(buffers, input), ..chunk })
}
