//! Reports of workers: counts and records handed on, boxes sent back, silence.

use super::*;

/// Counts its calls, and refuses versions when it should.
#[derive(Clone, Default)]
struct Tally(Rc<Tallied>);

#[derive(Default)]
struct Tallied {
    requests: Cell<u64>,
    batches: Cell<usize>,
    refuses: Cell<bool>,
    listeners: RefCell<Vec<(ListenerId, Box<str>)>>,
}

impl Sink for Tally {
    fn counts(&mut self, block: &CoreBlock) {
        assert!(block.routes.iter().all(|it| it.route == "all"));
        self.0.requests.set(self.0.requests.get() + block.totals.requests);
    }

    fn records(&mut self, _: &Records) {
        self.0.batches.set(self.0.batches.get() + 1);
    }

    fn adopt(&mut self, _: &Document, listeners: &[(ListenerId, Box<str>)]) -> Result<(), String> {
        if self.0.refuses.get() {
            return Err("the disk is full".to_owned());
        }
        self.0.listeners.replace(listeners.to_vec());
        Ok(())
    }

    fn reopen(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn counts_and_records_are_handed_on_and_their_boxes_come_back_empty() {
    local! {
        let tally = Tally::default();
        let node = Fake::with(2, None, Box::new(tally.clone()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let block = RouteBlock { route: "all".to_owned(), ..RouteBlock::default() };
        node.control.report(Report::Counts(Box::new(CoreBlock {
            core: 1,
            totals: Totals { requests: 5, ..Totals::default() },
            gauges: Gauges { cpu_micros: 250_000, ..Gauges::default() },
            routes: vec![Box::new(block.clone()), Box::new(block)],
            ..CoreBlock::default()
        })));
        let mut batch = Records::default();
        (batch.core, batch.dropped) = (1, 3);
        node.control.report(Report::Records(Box::new(batch)));
        let core = &node.cores[1];
        eventually("they come back", || (core.blocks.get(), core.batches.get()) == (2, 1)).await;
        assert_eq!((tally.0.requests.get(), tally.0.batches.get()), (5, 1));
        let status = node.control.status();
        assert_eq!(status.cores[1].block.totals.requests, 5);
        assert!((status.cores[1].busy_ratio - 0.25).abs() < 1e-6, "{}", status.cores[1].busy_ratio);
        assert_eq!(node.cores[0].blocks.get(), 0);
    }
}

#[tokio::test]
async fn a_sink_that_cannot_take_a_version_refuses_it() {
    local! {
        let tally = Tally::default();
        let node = Fake::with(1, None, Box::new(tally.clone()));
        tally.0.refuses.set(true);
        let refused = node.post(&with_listener("more", "127.0.0.1:0")).await;
        assert_eq!(refused, Err(Refused::Cannot("the disk is full".to_owned())));
        node.assert_as_before(1);
        tally.0.refuses.set(false);
        node.post(&with_listener("more", "127.0.0.1:0")).await.unwrap();
        let names: Vec<_> = tally.0.listeners.borrow().iter().map(|(_, it)| it.clone()).collect();
        assert_eq!(names, ["web".into(), "more".into()]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_core_that_says_nothing_is_not_alive() {
    local! {
        let node = Fake::new(2);
        tokio::time::advance(SILENCE_MAX).await;
        assert!(node.control.alive());
        node.control.report(Report::Counts(Box::default()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!node.control.alive());
        assert_eq!(node.control.ready(), ["core 1 has said nothing for 6.0 s"]);
        let totals = Totals::default();
        node.control.report(Report::Drained { core: 1, totals, cut: 0 });
        assert!(node.control.alive(), "a core that has ended need not speak");
    }
}
