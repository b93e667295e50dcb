//! The access log: one line per record, formatted here, written by a thread of its own.
//!
//! `fields` are the values of lines, `line` puts them together, `writer` writes lines to `file`. The control thread formats a
//! batch and hands the bytes over; it never waits for a disk or a pipe. What the writer cannot keep
//! up with is dropped, whole lines of it, and counted.
//!
//! Invariant: every record that came in is counted once, as written, as dropped, or as being on its
//! way. Nothing that a client sent can end a line or begin another field.

mod clock;
mod counts;
mod fields;
mod file;
mod line;
mod out;
mod text;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use engine::config::{self, LogFormat, LogTarget};
use worker::telemetry::record::Records;

use super::listeners::ListenerNames;
use clock::Clock;
use fields::LineSource;
use file::Target;
use line::Layout;
use writer::Writer;

pub(crate) use counts::LogCounts;

/// The access log as configured, perhaps none.
#[derive(Debug, Default)]
pub(crate) struct AccessLog {
    current: Option<Current>,
    /// Logs of earlier configurations that still have lines to write.
    ending: Vec<Writer>,
    counts: Arc<LogCounts>,
    clock: Clock,
}

#[derive(Debug)]
struct Current {
    target: Target,
    layout: Layout,
    writer: Writer,
}

impl AccessLog {
    /// What became of lines; stays up to date.
    pub(crate) fn counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
    }

    /// Writes to where the configuration says from now on, or nowhere.
    ///
    /// # Errors
    /// The file cannot be opened, and why. Then everything is as before.
    pub(crate) fn configure(&mut self, settings: Option<&config::AccessLog>) -> Result<(), String> {
        self.ending.retain(|writer| !writer.has_ended());
        let Some(settings) = settings else {
            self.retire();
            return Ok(());
        };
        let layout = match settings.format {
            LogFormat::Json => Layout::json(),
            LogFormat::Combined => Layout::combined(),
        };
        let target = match &settings.to {
            LogTarget::Stdout => Target::Stdout,
            LogTarget::File(path) => Target::File(path.clone()),
        };
        if let Some(current) = self.current.as_mut().filter(|it| it.target == target) {
            current.layout = layout;
            return Ok(());
        }
        let writer = Writer::start(&target, Arc::clone(&self.counts))
            .map_err(|error| format!("cannot write the access log to {target}: {error}"))?;
        self.retire();
        self.current = Some(Current { target, layout, writer });
        Ok(())
    }

    /// Takes in the records of a batch.
    pub(crate) fn write(&mut self, records: &Records, listeners: &ListenerNames) {
        if records.dropped > 0 {
            self.counts.dropped.fetch_add(records.dropped, Relaxed);
        }
        let Some(Current { layout, writer, .. }) = &mut self.current else { return };
        if records.records.is_empty() {
            return;
        }
        let lines = records.records.len() as u64;
        let Some(mut buffer) = writer.buffer() else {
            self.counts.dropped.fetch_add(lines, Relaxed);
            return;
        };
        for record in &records.records {
            let source = LineSource::new(records, record, listeners, &mut self.clock);
            layout.write(&mut buffer, &source);
        }
        writer.send(buffer, lines);
    }

    /// Opens the file again, under the same name: somebody has renamed it.
    pub(crate) fn reopen(&self) {
        if let Some(current) = &self.current {
            current.writer.reopen();
        }
    }

    /// Waits until everything is written, at most for `timeout`. Returns whether it is.
    pub(crate) fn finish(&mut self, timeout: Duration) -> bool {
        self.retire();
        let until = Instant::now() + timeout;
        let mut all = true;
        for writer in self.ending.drain(..) {
            all &= writer.wait(until.saturating_duration_since(Instant::now()));
        }
        all
    }

    fn retire(&mut self) {
        if let Some(Current { mut writer, .. }) = self.current.take() {
            writer.end();
            self.ending.push(writer);
        }
    }
}

#[cfg(test)]
mod tests;
