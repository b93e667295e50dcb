//! A change: read, parse, check, compile, bind, and only then switch, on every core.
//!
//! All that can fail or takes long is done by [`Job::run`] on a helper thread, so that the control
//! thread answers meanwhile. The cores hear of a change when nothing can fail any more.
//!
//! Invariant: one change at a time, in the order in which they were asked for; at most
//! [`CHANGES_MAX`] at once. A change that is refused leaves no trace but its count and its reason.

use std::sync::Arc;
use std::time::Duration;

use engine::config::{Diagnostic, Sources, parse, render};
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::{Instant, timeout_at};
use worker::message::{Switch, ToWorker};

use crate::changes::{Changes, fixed_keys};
use crate::handle::Control;
use crate::listen::ListenAddress;
use crate::node::{Applied, Refused};
use crate::options::Options;
use crate::source::Reading;
use crate::state::{LAG_MAX, unix_seconds};
use crate::version::{Draft, Live, Prepared};
use crate::watched::Watched;
use crate::{source, systemd};

/// So many changes may wait or run at once: a person and a few programs. More only means that
/// somebody does not wait for answers.
pub(crate) const CHANGES_MAX: usize = 8;

/// How long the answer to a change waits for the cores. One that is not stuck takes some
/// milliseconds, whatever its load.
pub(crate) const SWITCH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a reading that somebody has asked for waits for the writer of the file. A command
/// that writes a file and then sends SIGHUP has closed it, or is about to.
const REST_TIMEOUT: Duration = Duration::from_millis(500);

/// The origin of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeFrom {
    /// This text.
    Text(String),
    /// The content of the file.
    File,
    /// The content of the file, if it differs from the last reading.
    FileIfChanged,
}

/// Makes a change that somebody waits for.
pub(crate) async fn queue(
    control: &Control,
    from: ChangeFrom,
    dry_run: bool,
    if_match: Option<u64>,
) -> Result<Applied, Refused> {
    let changes = &control.shared.changes;
    if changes.get() >= CHANGES_MAX {
        return Err(Refused::Busy);
    }
    changes.set(changes.get() + 1);
    let task = {
        let control = control.clone();
        // A task of its own: whoever has asked may leave.
        spawn_local(async move {
            let result = apply(&control, from, dry_run, if_match).await;
            let changes = &control.shared.changes;
            changes.set(changes.get() - 1);
            result
        })
    };
    task.await.unwrap_or_else(|error| Err(Refused::Cannot(format!("the change was lost: {error}"))))
}

/// Makes a change when those before it are made.
pub(crate) async fn apply(
    control: &Control,
    from: ChangeFrom,
    dry_run: bool,
    if_match: Option<u64>,
) -> Result<Applied, Refused> {
    let shared = &control.shared;
    // Held to the end of the switch: the next change compiles against the version of this one.
    let _turn = shared.turn.lock().await;
    let begun = Instant::now();
    let job = job(control, from, dry_run, if_match)?;
    if dry_run {
        return on_helper(job).await.1.map(|made| match made {
            HelperResult::AsLastRead | HelperResult::AsLive => {
                Applied { unchanged: true, ..applied(control, Vec::new(), begun) }
            }
            HelperResult::Sound(warnings) => applied(control, warnings, begun),
            HelperResult::Prepared(it, _) => {
                applied(control, it.live.model.warnings.clone(), begun)
            }
        });
    }
    let asked = job.from != ChangeFrom::FileIfChanged;
    if asked {
        announce(control);
    }
    // The control thread serves the admin API and reports meanwhile, so the state may have changed
    // when the helper is back: `admit` looks at it again.
    let (seen, made) = on_helper(job).await;
    if let Some(seen) = seen {
        shared.state.borrow_mut().file = Some(seen);
    }
    // Nobody asked for a reading by the watch, and most of them find nothing new.
    let is_news = match &made {
        Ok(HelperResult::AsLastRead) => false,
        Ok(HelperResult::AsLive) => asked || shared.state.borrow().was_refused(),
        _ => true,
    };
    if !is_news {
        return Ok(Applied { unchanged: true, ..applied(control, Vec::new(), begun) });
    }
    if !asked {
        announce(control);
    }
    if let Ok(HelperResult::Prepared(prepared, _)) = &made {
        // Its upstreams need endpoints when the first request comes. Names that were there before have
        // their answers.
        shared.dns.follow(&prepared.live.model.document);
        shared.dns.first_answers().await;
    }
    let result = make(control, made, begun).await;
    let live = Arc::clone(&shared.state.borrow().live);
    shared.dns.keep(&live.model.document);
    if shared.state.borrow().serves() {
        systemd::ready(&control.line());
    }
    result
}

/// Says that a reload has begun, unless the gateway is starting or stopping.
fn announce(control: &Control) {
    if control.shared.state.borrow().serves() {
        systemd::reloading();
    }
}

/// The job for the helper, unless the change is out of the question.
fn job(
    control: &Control,
    from: ChangeFrom,
    dry_run: bool,
    if_match: Option<u64>,
) -> Result<Job, Refused> {
    let shared = &control.shared;
    let state = shared.state.borrow();
    let version = state.live.number;
    if if_match.is_some_and(|wanted| wanted != version) {
        return Err(Refused::Conflict { version });
    }
    if state.draining {
        return Err(Refused::Cannot("the gateway is stopping".to_owned()));
    }
    Ok(Job {
        from,
        file: shared.file.clone(),
        seen: state.file.clone(),
        live: Arc::clone(&state.live),
        options: shared.options.clone(),
        places: state.places(),
        cores: state.cores(),
        dry_run,
    })
}

async fn make(
    control: &Control,
    made: Result<HelperResult, Refused>,
    begun: Instant,
) -> Result<Applied, Refused> {
    let shared = &control.shared;
    let (prepared, changes) = match made.and_then(|made| admit(control, made)) {
        Ok(Some(made)) => made,
        Ok(None) => {
            shared.state.borrow_mut().unchanged(unix_seconds());
            tracing::info!("the configuration is as before: {}", control.line());
            return Ok(Applied { unchanged: true, ..applied(control, Vec::new(), begun) });
        }
        Err(refused) => {
            refuse(control, &refused);
            return Err(refused);
        }
    };
    let warnings = prepared.live.model.warnings.clone();
    // The point of no return. A core that does not keep up switches later; the answer names it.
    let before = switch(control, prepared);
    wait(control).await;
    let answer = applied(control, warnings, begun);
    say(control, &answer, &changes);
    // By the thread that made it, to which its memory belongs; nobody waits for it.
    spawn_blocking(move || drop(before));
    Ok(answer)
}

/// The last that can fail. None: there is nothing to change.
fn admit(control: &Control, made: HelperResult) -> Result<Option<(Prepared, Changes)>, Refused> {
    let HelperResult::Prepared(prepared, changes) = made else { return Ok(None) };
    let shared = &control.shared;
    let state = shared.state.borrow();
    if state.draining {
        return Err(Refused::Cannot("the gateway is stopping".to_owned()));
    }
    if state.lag() >= LAG_MAX {
        let reasons = state.reasons(Instant::now()).join(", ");
        return Err(Refused::Cannot(format!(
            "a core does not keep up ({reasons}): wait, or restart the gateway"
        )));
    }
    let live = &prepared.live;
    // Opens the access log of the new version. As the last step that can fail, because a file that
    // was opened for a version that is refused would be left behind.
    let adopted = shared.sink.borrow_mut().adopt(&live.model.document, &live.listener_names());
    adopted.map_err(Refused::Cannot)?;
    Ok(Some((*prepared, changes)))
}

/// Sends the cores their parts. From here on the version is live. Returns the one before.
fn switch(control: &Control, prepared: Prepared) -> Arc<Live> {
    let Prepared { live, parts } = prepared;
    let answers = control.shared.dns.answers(&live.model.document);
    let mut state = control.shared.state.borrow_mut();
    let before = state.sent(live, answers.clone(), Instant::now());
    state.taken(unix_seconds());
    drop(state);
    for (core, part) in parts.into_iter().enumerate() {
        let answers = answers.clone();
        let switch = Switch { table: part.table, listeners: part.listeners, answers };
        control.tell(core, ToWorker::Switch(Box::new(switch)));
    }
    // A core that could not take the version before may have missed facts about its endpoints.
    let facts: Vec<_> = control.shared.state.borrow().endpoint_facts().collect();
    facts.iter().for_each(|fact| _ = control.spread(fact));
    control.tell_failing();
    control.follow_checks();
    before
}

/// Waits until every core has switched, or for the deadline.
async fn wait(control: &Control) {
    let shared = &control.shared;
    let deadline = Instant::now() + SWITCH_TIMEOUT;
    loop {
        // Listens before it looks, so that nothing is said in between.
        let switched = shared.switched.notified();
        if shared.state.borrow().lagging().is_empty()
            || timeout_at(deadline, switched).await.is_err()
        {
            return;
        }
    }
}

fn applied(control: &Control, warnings: Vec<Diagnostic>, begun: Instant) -> Applied {
    let state = control.shared.state.borrow();
    Applied {
        version: state.live.number,
        unchanged: false,
        lagging: state.lagging(),
        warnings,
        micros: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
    }
}

fn say(control: &Control, answer: &Applied, changes: &Changes) {
    let Applied { version, lagging, warnings, micros, .. } = answer;
    if !warnings.is_empty() {
        tracing::warn!("version {version}: {}", render(warnings, false));
    }
    let milliseconds = Duration::from_micros(*micros).as_secs_f64() * 1000.0;
    let cores = control.shared.mailboxes.len();
    let switched = cores - lagging.len().min(cores);
    tracing::info!(
        "version {version} is live on {switched} of {cores} cores after {milliseconds:.1} ms: \
         {changes}"
    );
    for core in lagging {
        tracing::warn!("core {core} has not switched to version {version} in time; it will");
    }
}

/// Says, counts and remembers that a change was refused.
fn refuse(control: &Control, refused: &Refused) {
    let version = control.shared.state.borrow().live.number;
    let (why, short) = match refused {
        Refused::Diagnostics(diagnostics) => {
            let first = diagnostics.first().map(|it| {
                let (line, column) = it.position();
                let more = match diagnostics.len() {
                    1 => String::new(),
                    count => format!(", and {} more", count - 1),
                };
                format!("{}:{line}:{column}: {}{more}", it.file(), it.what())
            });
            (render(diagnostics, false), first.unwrap_or_default())
        }
        Refused::Cannot(why) => (why.clone(), why.clone()),
        Refused::Conflict { .. } | Refused::Busy => return,
    };
    tracing::error!("the new configuration is refused, version {version} serves on: {why}");
    control.shared.state.borrow_mut().refused(unix_seconds(), short);
}

/// The job of the helper. It owns all of it.
struct Job {
    from: ChangeFrom,
    file: Option<Arc<Watched>>,
    /// The content of the file at the last reading.
    seen: Option<Arc<Sources>>,
    live: Arc<Live>,
    options: Options,
    /// Where this process listens.
    places: Vec<ListenAddress>,
    cores: usize,
    dry_run: bool,
}

/// The result of the helper.
enum HelperResult {
    /// The file is as at the last reading, taken or refused then.
    AsLastRead,
    /// The live version says the same.
    AsLive,
    /// It is sound; the diagnostics are warnings.
    Sound(Vec<Diagnostic>),
    /// Compiled and bound; and the differences.
    Prepared(Box<Prepared>, Changes),
}

/// The content of the file, if it was read; and the result.
type Done = (Option<Arc<Sources>>, Result<HelperResult, Refused>);

async fn on_helper(job: Job) -> Done {
    spawn_blocking(move || job.run()).await.unwrap_or_else(|_| {
        let why = "this is a mistake in ringway, please report it with the message above";
        (None, Err(Refused::Cannot(why.to_owned())))
    })
}

impl Job {
    /// Everything that can be done without the cores.
    fn run(self) -> Done {
        let (sources, seen) = match &self.from {
            ChangeFrom::Text(text) => (source::posted(text.as_str()), None),
            ChangeFrom::File | ChangeFrom::FileIfChanged => match self.read() {
                Ok(Some(sources)) => (sources.clone(), Some(Arc::new(sources))),
                Ok(None) => return (None, Ok(HelperResult::AsLastRead)),
                Err(refused) => return (None, Err(refused)),
            },
        };
        if self.is_live(&sources) {
            return (seen, Ok(HelperResult::AsLive));
        }
        (seen, self.prepare(sources))
    }

    /// The content of the file, when no writer is at it. None: there is nothing to take, because it
    /// is as at the last reading, or because another reading follows. From here on, the places of
    /// the reading are watched.
    fn read(&self) -> Result<Option<Sources>, Refused> {
        let Some(file) = &self.file else {
            let why = "there is no configuration file to read: this gateway was started \
                       without one or from a pipe";
            return Err(Refused::Cannot(why.to_owned()));
        };
        let is_asked = self.from == ChangeFrom::File;
        let began = Instant::now();
        loop {
            file.begin_reading();
            let Reading { sources, folders } = source::read(&file.path);
            file.watch(&folders);
            let is_as_before = sources.as_ref().ok() == self.seen.as_deref();
            if !is_asked && is_as_before {
                return Ok(None);
            }
            // A writer may have begun beside the reading: then this is half of its change, sound or
            // not, and says nothing.
            if file.was_at_rest() {
                let path = file.path.display();
                let cannot = |error| Refused::Cannot(format!("cannot read {path}: {error}"));
                return sources.map(Some).map_err(cannot);
            }
            if !is_asked {
                // The watch tells of the end of that change.
                return Ok(None);
            }
            if began.elapsed() >= REST_TIMEOUT {
                let why = "the configuration is being written: it is read when its writer closes \
                           the file";
                return Err(Refused::Cannot(why.to_owned()));
            }
        }
    }

    /// Whether the live version says the same, byte for byte, whatever its name is.
    fn is_live(&self, sources: &Sources) -> bool {
        let live = &self.live.sources;
        let alone = || {
            live.files().count() == 1 && live.bytes(live.main()) == sources.bytes(sources.main())
        };
        live == sources || matches!(self.from, ChangeFrom::Text(_)) && alone()
    }

    fn prepare(&self, sources: Sources) -> Result<HelperResult, Refused> {
        let live = &self.live;
        let model = parse(&sources).map_err(Refused::Diagnostics)?;
        let keys = fixed_keys(&live.model.document, &model.document, &self.options);
        if !keys.is_empty() {
            let (pronoun, keys) = (if keys.len() == 1 { "it" } else { "them" }, keys.join(", "));
            return Err(Refused::Cannot(format!(
                "a running gateway cannot change {keys}: leave {pronoun} as before, or restart"
            )));
        }
        let changes = Changes::between(&live.model.document, &model.document);
        let identities = live.identities.clone();
        let next = (live.number + 1, unix_seconds());
        let draft = Draft::compile(sources, model, next, identities, Some(&live.tls));
        let draft = draft.map_err(Refused::Diagnostics)?;
        let warnings = draft.warnings().to_vec();
        if self.dry_run {
            return Ok(HelperResult::Sound(warnings));
        }
        let prepared = draft.bind(&live.listeners, &self.places, self.cores);
        let prepared = prepared.map_err(|error| Refused::Cannot(error.to_string()))?;
        Ok(HelperResult::Prepared(Box::new(prepared), changes))
    }
}
