//! The node of this process, as the admin API knows it: [`Node`] for the control thread's handle.

use tokio::time::Instant;

use crate::apply::{self, Wish};
use crate::handle::Control;
use crate::node::{Applied, Change, Node, Refused, Status};

impl Node for Control {
    fn status(&self) -> Status {
        self.shared.state.borrow().status(Instant::now())
    }

    fn ready(&self) -> Vec<String> {
        self.shared.state.borrow().reasons(Instant::now())
    }

    fn config(&self) -> String {
        self.shared.state.borrow().live.model.normalised()
    }

    async fn apply(&self, change: Change) -> Result<Applied, Refused> {
        let Change { text, dry_run, if_match } = change;
        let wish = text.map_or(Wish::File, Wish::Text);
        apply::queue(self, wish, dry_run, if_match).await
    }
}
