//! Credit of a limit, lent to the cores.
//!
//! A limit of so many things at once is that much credit. Each core begins with its share, and a thing
//! that runs on it uses one of its credit. So a core decides alone, and asks nobody. Only a core that
//! runs short asks the [`Lender`], on the control thread, for more: the lender lends what is free, or
//! recalls credit from the other cores first. A core that is recalled from gives at once up to half of
//! its credit that is not in use. Where it has more than its share, it owes the rest and gives it back
//! as its things end: so cores that are all short come to equal shares.
//!
//! Messages may be late and cross each other. Credit that is on its way counts for nobody.
//!
//! Invariant: the credit of all cores, the free credit and the credit on its way are the limit. A core
//! that has no more credit than it uses begins nothing. So there are never more things at once than
//! the limit allows, and a thing is refused early by at most the credit that is unused elsewhere.

use std::collections::VecDeque;

use crate::time::Instant;

/// Between two wishes of a core, in microseconds, where the first one was not met. A wish is answered
/// in a fraction of this; where all credit is in use, more wishes would only be more messages.
const WISH_MICROS: u64 = 20_000;

/// From a core to the lender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToLender {
    /// It could use so much more.
    Wish(u32),
    /// It gives so much back, as an answer to [`ToBorrower::Recall`].
    Recalled(u32),
    /// It gives so much back that it has owed.
    Repaid(u32),
}

/// From the lender to a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToBorrower {
    /// So much more, perhaps nothing: the answer to [`ToLender::Wish`].
    Lent(u32),
    /// So much more, which others have repaid since the answer to a wish that was not met.
    Added(u32),
    /// Others could use so much. `share` is a core's equal share of the limit.
    Recall {
        /// How much.
        count: u32,
        /// Credit beyond this is owed, even if it is in use.
        share: u32,
        /// The core that could use it has less than its share.
        is_needy: bool,
    },
}

/// A core's credit.
#[derive(Clone, Debug)]
pub struct Borrower {
    /// No other core has any.
    is_alone: bool,
    credit: u32,
    used: u32,
    /// Of the credit in use, that much goes back when it comes free.
    owed: u32,
    /// A wish is on its way.
    has_asked: bool,
    /// No wish before this.
    next_wish: Instant,
    /// It has run short: until then it keeps its share.
    keeps_until: Instant,
}

/// The share of core number `core` in a limit of `total`: all shares together are the limit.
fn share(total: u32, core: usize, cores: usize) -> u32 {
    let cores = u32::try_from(cores.max(1)).unwrap_or(u32::MAX);
    let core = u32::try_from(core).unwrap_or(u32::MAX);
    total / cores + u32::from(core < total % cores)
}

impl Borrower {
    /// Of core number `core` of so many `cores`, for a limit of `total`.
    #[must_use]
    pub fn new(total: u32, core: usize, cores: usize) -> Self {
        Self {
            is_alone: cores <= 1,
            credit: share(total, core, cores),
            used: 0,
            owed: 0,
            has_asked: false,
            next_wish: Instant(0),
            keeps_until: Instant(0),
        }
    }

    /// The same core's for another limit, under which things of the one before still run.
    #[must_use]
    pub fn follow(&self, total: u32, core: usize, cores: usize) -> Self {
        Self { used: self.used, ..Self::new(total, core, cores) }
    }

    /// Uses one; `false` where none is left.
    pub const fn take(&mut self) -> bool {
        let free = self.used < self.credit;
        if free {
            self.used += 1;
        }
        free
    }

    /// One is not in use any more. The news for the lender, if there is any.
    pub const fn put_back(&mut self) -> Option<ToLender> {
        debug_assert!(self.used > 0, "something ends that had begun");
        self.used = self.used.saturating_sub(1);
        if self.owed == 0 {
            return None;
        }
        self.owed -= 1;
        self.credit -= 1;
        Some(ToLender::Repaid(1))
    }

    /// Whether nothing runs.
    #[must_use]
    pub const fn is_unused(&self) -> bool {
        self.used == 0
    }

    /// The wish for more, where this core runs short: less than an eighth of its credit is left.
    pub const fn wish(&mut self, now: Instant) -> Option<ToLender> {
        let left = self.credit.saturating_sub(self.used);
        if self.is_alone || left > self.credit / 8 || self.has_asked || now.0 < self.next_wish.0 {
            return None;
        }
        self.has_asked = true;
        self.keeps_until = now.plus_micros(WISH_MICROS);
        // A quarter more, so that a core whose load grows does not ask for each of its things.
        Some(ToLender::Wish(self.credit / 4 + 1))
    }

    /// Whether the lender may have some more for a core that has nothing at all: then the answer to a
    /// wish is worth a short wait.
    #[must_use]
    pub const fn awaits_first(&self) -> bool {
        self.credit == 0 && self.has_asked
    }

    /// Takes in news of the lender. The answer, if there is one.
    pub fn hear(&mut self, news: ToBorrower, now: Instant) -> Option<ToLender> {
        match news {
            ToBorrower::Lent(count) => {
                self.credit += count;
                self.has_asked = false;
                self.keeps_until = now.plus_micros(WISH_MICROS);
                if count == 0 {
                    self.next_wish = self.keeps_until;
                }
                None
            }
            ToBorrower::Added(count) => {
                self.credit += count;
                self.keeps_until = now.plus_micros(WISH_MICROS);
                None
            }
            ToBorrower::Recall { count, share, is_needy } => {
                let unused = self.credit.saturating_sub(self.used);
                // A core that runs short itself keeps its share from those that have theirs.
                let keeps = !is_needy && now < self.keeps_until;
                let kept = if keeps { share } else { 0 };
                let given = unused.div_ceil(2).min(self.credit.saturating_sub(kept)).min(count);
                self.credit -= given;
                // Owed is a part of the credit in use only: the rest is given now or kept.
                let beyond = self.credit.saturating_sub(share.max(unused - given));
                let in_use = self.used.min(self.credit);
                let owed = (count - given).min(beyond).min(in_use);
                self.owed = self.owed.max(owed);
                if self.credit == 0 {
                    // It has none even for a single thing, but others have: it may ask at once.
                    self.next_wish = now;
                }
                Some(ToLender::Recalled(given))
            }
        }
    }
}

/// The credit that is not with the cores, and the wishes for it.
#[derive(Clone, Debug)]
pub struct Lender {
    /// An equal share, rounded down and rounded up.
    shares: [u32; 2],
    free: u32,
    /// For each core, the credit that it has, or that is on its way to it.
    lent: Vec<u32>,
    /// For each core, the part of its last wish that was not met. Repaid credit goes there.
    unmet: Vec<u32>,
    /// Cores that wait for an answer, and how much they could use.
    wishes: VecDeque<(usize, u32)>,
    /// Answers to a recall that have not come.
    answers: usize,
}

/// Messages of the lender, each with the core that it is for.
pub type Letters = Vec<(usize, ToBorrower)>;

impl Lender {
    /// Of a limit of `total`, all of which is with the cores.
    #[must_use]
    pub fn new(total: u32, cores: usize) -> Self {
        let parts = u32::try_from(cores.max(1)).unwrap_or(u32::MAX);
        let shares = [total / parts, total.div_ceil(parts)];
        let lent = (0..cores).map(|core| share(total, core, cores)).collect();
        Self { shares, free: 0, lent, unmet: vec![0; cores], wishes: VecDeque::new(), answers: 0 }
    }

    /// Takes in news of a core.
    pub fn hear(&mut self, core: usize, news: ToLender) -> Letters {
        let mut letters = Letters::new();
        match news {
            ToLender::Wish(count) => self.wishes.push_back((core, count)),
            ToLender::Recalled(count) => {
                self.get_back(core, count);
                self.answers = self.answers.saturating_sub(1);
                // The recall was for the eldest wish: it gets what came, perhaps nothing.
                if self.answers == 0 {
                    self.answer(&mut letters);
                }
            }
            ToLender::Repaid(count) => {
                self.get_back(core, count);
                if let Some(unmet) = self.unmet.get_mut(core) {
                    *unmet = 0;
                }
                self.pass_on(&mut letters);
            }
        }
        // One recall at a time. Free credit needs none.
        while self.answers == 0
            && let Some(&(core, count)) = self.wishes.front()
        {
            if self.free > 0 {
                self.answer(&mut letters);
            } else {
                self.recall(core, count, &mut letters);
            }
        }
        letters
    }

    /// A core has given so much back.
    fn get_back(&mut self, core: usize, count: u32) {
        self.free += count;
        if let Some(has) = self.lent.get_mut(core) {
            debug_assert!(*has >= count, "a core gives back what it has");
            *has = has.saturating_sub(count);
        }
    }

    /// Lends free credit to the cores for which it was recalled.
    fn pass_on(&mut self, letters: &mut Letters) {
        let cores = self.unmet.iter_mut().zip(&mut self.lent).enumerate();
        for (core, (unmet, has)) in cores {
            let lent = (*unmet).min(self.free);
            if lent > 0 {
                *unmet -= lent;
                *has += lent;
                self.free -= lent;
                letters.push((core, ToBorrower::Added(lent)));
            }
        }
    }

    /// Asks all cores but this one.
    fn recall(&mut self, core: usize, count: u32, letters: &mut Letters) {
        let [low, high] = self.shares;
        let is_needy = self.lent.get(core).is_some_and(|has| *has < high);
        // Where the shares cannot be equal, the odd ones go round.
        let share = if is_needy { low } else { high };
        let recall = ToBorrower::Recall { count, share, is_needy };
        let cores = self.unmet.len();
        letters.extend((0..cores).filter(|it| *it != core).map(|it| (it, recall)));
        self.answers = cores.saturating_sub(1);
        if self.answers == 0 {
            self.answer(letters);
        }
    }

    /// Answers the eldest wish with as much as is free.
    fn answer(&mut self, letters: &mut Letters) {
        let Some((core, count)) = self.wishes.pop_front() else { return };
        let lent = count.min(self.free);
        self.free -= lent;
        if let Some(has) = self.lent.get_mut(core) {
            *has += lent;
        }
        if let Some(unmet) = self.unmet.get_mut(core) {
            *unmet = count - lent;
        }
        letters.push((core, ToBorrower::Lent(lent)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Cores, their lender, and the messages on their way, each way in order.
    struct Node {
        total: u32,
        now: Instant,
        cores: Vec<Borrower>,
        lender: Lender,
        up: Vec<VecDeque<ToLender>>,
        down: Vec<VecDeque<ToBorrower>>,
    }

    impl Node {
        fn new(total: u32, cores: usize) -> Self {
            Self {
                total,
                now: Instant(1),
                cores: (0..cores).map(|core| Borrower::new(total, core, cores)).collect(),
                lender: Lender::new(total, cores),
                up: vec![VecDeque::new(); cores],
                down: vec![VecDeque::new(); cores],
            }
        }

        fn begin(&mut self, core: usize) -> bool {
            let taken = self.cores[core].take();
            let wish = self.cores[core].wish(self.now);
            self.up[core].extend(wish);
            taken
        }

        fn end(&mut self, core: usize) {
            if self.cores[core].used > 0 {
                let repaid = self.cores[core].put_back();
                self.up[core].extend(repaid);
            }
        }

        fn deliver_up(&mut self, core: usize) {
            let Some(news) = self.up[core].pop_front() else { return };
            for (to, letter) in self.lender.hear(core, news) {
                self.down[to].push_back(letter);
            }
        }

        fn deliver_down(&mut self, core: usize) {
            if let Some(news) = self.down[core].pop_front() {
                let answer = self.cores[core].hear(news, self.now);
                self.up[core].extend(answer);
            }
        }

        fn deliver_all(&mut self) {
            while self.up.iter().any(|it| !it.is_empty())
                || self.down.iter().any(|it| !it.is_empty())
            {
                (0..self.cores.len()).for_each(|core| {
                    self.deliver_up(core);
                    self.deliver_down(core);
                });
            }
        }

        fn used(&self) -> u32 {
            self.cores.iter().map(|it| it.used).sum()
        }

        fn assert_sound(&self) {
            let on_the_way_up = |news: &ToLender| match news {
                ToLender::Wish(_) => 0,
                ToLender::Recalled(count) | ToLender::Repaid(count) => *count,
            };
            let on_the_way_down = |news: &ToBorrower| match news {
                ToBorrower::Lent(count) | ToBorrower::Added(count) => *count,
                ToBorrower::Recall { .. } => 0,
            };
            let credit: u32 = self.cores.iter().map(|it| it.credit).sum();
            let up: u32 = self.up.iter().flatten().map(on_the_way_up).sum();
            let down: u32 = self.down.iter().flatten().map(on_the_way_down).sum();
            assert_eq!(credit + up + down + self.lender.free, self.total);
            assert!(self.used() <= self.total);
            for core in &self.cores {
                assert!(core.used <= core.credit && core.owed <= core.used, "{core:?}");
            }
        }
    }

    #[test]
    fn shares_together_are_the_limit() {
        for total in 0..20 {
            for cores in 1..6 {
                let sum: u32 = (0..cores).map(|core| share(total, core, cores)).sum();
                assert_eq!(sum, total);
            }
        }
    }

    #[test]
    fn a_core_without_credit_gets_the_one_that_another_does_not_use() {
        let mut node = Node::new(1, 4);
        assert!(!node.begin(3));
        assert!(node.cores[3].awaits_first());
        node.deliver_all();
        assert!(node.begin(3));
        assert!(!node.begin(0) && !node.begin(3));
    }

    #[test]
    fn one_core_alone_asks_nobody() {
        let mut node = Node::new(3, 1);
        assert_eq!([(); 5].map(|()| node.begin(0)), [true, true, true, false, false]);
        assert!(node.up[0].is_empty());
    }

    #[test]
    fn cores_that_are_all_short_come_to_equal_shares() {
        let mut node = Node::new(40, 2);
        // Core 0 takes all that there is.
        for _ in 0..100 {
            node.now = node.now.plus_micros(WISH_MICROS);
            node.begin(0);
            node.deliver_all();
        }
        assert!(node.cores[0].used > 35, "{:?}", node.cores);
        // Now both want all of it, and things end on both.
        for _ in 0..400 {
            node.now = node.now.plus_micros(WISH_MICROS);
            (0..2).for_each(|core| node.end(core));
            (0..80).for_each(|it| _ = node.begin(it % 2));
            node.deliver_all();
        }
        let used: Vec<_> = node.cores.iter().map(|it| it.used).collect();
        assert!(used.iter().all(|it| (15..=25).contains(it)), "{used:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn there_are_never_more_at_once_than_the_limit_and_no_credit_is_lost(
            total in 0u32..30,
            cores in 1usize..5,
            steps in prop::collection::vec((0u8..10, 0usize..5), 0..600),
        ) {
            let mut node = Node::new(total, cores);
            for (step, core) in steps {
                let core = core % cores;
                match step {
                    0..=3 => _ = node.begin(core),
                    4..=5 => node.end(core),
                    6..=7 => node.deliver_up(core),
                    8 => node.deliver_down(core),
                    _ => node.now = node.now.plus_micros(WISH_MICROS / 2),
                }
                node.assert_sound();
            }
            // A core that goes on asking gets all that the others do not use.
            let elsewhere = node.used() - node.cores[0].used;
            for _ in 0..total * 20 + 100 {
                node.now = node.now.plus_micros(WISH_MICROS);
                node.begin(0);
                node.deliver_all();
                node.assert_sound();
            }
            prop_assert_eq!(node.cores[0].used + elsewhere, total);
        }
    }
}
