//! Credit of the limits of the live version: the lenders, on the control thread.
//!
//! The cores ask by [`Report::Credit`](worker::message::Report::Credit). A limit is known by its id;
//! news about a limit that no live version has is answered with nothing, because the core that sent it
//! waits.

use std::collections::BTreeMap;

use engine::limit::lease::Letters;
use engine::limit::{Lender, LimitId, ToBorrower, ToLender};

/// The lenders of the live version.
#[derive(Debug)]
pub(crate) struct Lenders {
    cores: usize,
    by_id: BTreeMap<LimitId, Lender>,
}

impl Lenders {
    /// Of a node with so many cores, in whose version there are these limits, by id and size.
    pub(crate) fn new(cores: usize, limits: &[(LimitId, u32)]) -> Self {
        let mut lenders = Self { cores, by_id: BTreeMap::new() };
        lenders.follow(limits);
        lenders
    }

    /// Another version is live. A limit with the same id goes on as it is.
    pub(crate) fn follow(&mut self, limits: &[(LimitId, u32)]) {
        let mut before = std::mem::take(&mut self.by_id);
        let cores = self.cores;
        let lender = |&(id, size): &(LimitId, u32)| {
            (id, before.remove(&id).unwrap_or_else(|| Lender::new(size, cores)))
        };
        self.by_id = limits.iter().map(lender).collect();
    }

    /// Takes in news of a core. The messages that follow from it.
    pub(crate) fn hear(&mut self, core: usize, limit: LimitId, news: ToLender) -> Letters {
        match self.by_id.get_mut(&limit) {
            Some(lender) => lender.hear(core, news),
            None if matches!(news, ToLender::Wish(_)) => vec![(core, ToBorrower::Lent(0))],
            None => Letters::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_goes_on_while_versions_have_it() {
        let (one, other) = (LimitId(1), LimitId(2));
        let mut lenders = Lenders::new(2, &[(one, 10)]);
        assert!(lenders.hear(1, one, ToLender::Repaid(3)).is_empty());
        lenders.follow(&[(one, 10), (other, 5)]);
        assert_eq!(lenders.hear(0, one, ToLender::Wish(2)), [(0, ToBorrower::Lent(2))]);
        lenders.follow(&[(other, 5)]);
        lenders.follow(&[(one, 10)]);
        let letters = lenders.hear(0, one, ToLender::Wish(2));
        assert_eq!(letters, [(1, ToBorrower::Recall { count: 2, share: 5, is_needy: false })]);
    }

    #[test]
    fn a_core_that_asks_for_a_limit_that_is_gone_gets_an_answer() {
        let mut lenders = Lenders::new(2, &[]);
        let gone = LimitId(9);
        assert_eq!(lenders.hear(1, gone, ToLender::Wish(4)), [(1, ToBorrower::Lent(0))]);
        assert!(lenders.hear(1, gone, ToLender::Recalled(1)).is_empty());
    }
}
