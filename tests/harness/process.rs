//! A process and its output. Dropping it kills it, and prints its output if the test failed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{PATIENCE, eventually};

/// The `ringway` of this build, to be given arguments. It hears nothing of the variables that the
/// tests themselves run under.
pub(crate) fn ringway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    for name in ["RINGWAY_CONFIG", "RINGWAY_CORES", "RINGWAY_CPUS", "RINGWAY_DRIVER", "RUST_LOG"] {
        command.env_remove(name);
    }
    for name in ["RINGWAY_LOG", "JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]
    {
        command.env_remove(name);
    }
    // So its memory is the memory that it has touched. Huge pages would come and go by 2 MiB.
    command.env("MIMALLOC_ALLOW_THP", "0");
    command
}

/// The hard limit that [`Process::limit_descriptors`] leaves.
const DESCRIPTORS_MAX: u64 = 64;

/// A process under test.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// The lines that a process has printed so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<(Mutex<Printed>, Condvar)>);

#[derive(Debug, Default)]
struct Printed {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn read_from(&self, from: impl Read + Send + 'static) -> JoinHandle<()> {
        let shared = Arc::clone(&self.0);
        thread::spawn(move || {
            let (printed, changed) = &*shared;
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                printed.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
                changed.notify_all();
            }
            printed.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            changed.notify_all();
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// All of them, as one text.
    pub(crate) fn text(&self) -> String {
        self.all().join("\n")
    }

    /// Waits for a line of which `wanted` makes something; none when the process closes the stream
    /// without it.
    pub(crate) fn wait_for<T>(&self, wanted: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (printed, changed) = &*self.0;
        let find = |printed: &Printed| printed.lines.iter().find_map(|line| wanted(line));
        let printed = printed.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(printed, PATIENCE, |printed| {
            find(printed).is_none() && !printed.ended
        });
        find(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// A thread that stands still.
pub(crate) struct StoppedThread(Pid);

impl Drop for StoppedThread {
    fn drop(&mut self) {
        // It may have ended.
        let _ = ptrace::detach(self.0, None);
    }
}

impl Process {
    /// Starts `command`.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            stdout.read_from(child.stdout.take().expect("it is piped")),
            stderr.read_from(child.stderr.take().expect("it is piped")),
        ];
        Self { child, stdout, stderr, readers }
    }

    /// Starts `command` and waits for its end. Returns the exit code, and the process with its
    /// output.
    pub(crate) fn run(command: &mut Command) -> (i32, Self) {
        let mut process = Self::start(command);
        let code = process.exit_code();
        (code, process)
    }

    /// Sends it SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("process ids are small");
        kill(Pid::from_raw(id), signal).expect("it runs");
    }

    /// Its threads: name, nice value, and on how many CPUs each may run.
    pub(crate) fn threads(&self) -> Vec<(String, i32, usize)> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let thread = |path: std::path::PathBuf| {
            let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap();
            let stat = read("stat");
            // The name may hold anything; behind it the nice value is the 17th word.
            let (_, words) = stat.rsplit_once(')').expect("the name ends");
            let nice = words.split_whitespace().nth(16).expect("it is there").parse().unwrap();
            let status = read("status");
            let mask = status.lines().find_map(|it| it.strip_prefix("Cpus_allowed:")).unwrap();
            let bits = |digit: char| digit.to_digit(16).map_or(0, u32::count_ones);
            let cpus = mask.chars().map(bits).sum::<u32>();
            (read("comm").trim_end().to_owned(), nice, cpus as usize)
        };
        tasks.map(|task| thread(task.unwrap().path())).collect()
    }

    /// CPU time that its threads have used.
    pub(crate) fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanos = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0)
        };
        Duration::from_nanos(tasks.map(|task| nanos(task.unwrap().path())).sum())
    }

    /// The number that its next descriptor has. A limit of this lets it have no further one: limits
    /// are of numbers. It opens some for a moment by itself (to look at its own), so the least of
    /// several looks counts.
    pub(crate) fn lowest_free_descriptor(&self) -> u64 {
        let look = || {
            let open = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
            let number = |entry: std::io::Result<std::fs::DirEntry>| {
                entry.unwrap().file_name().to_str().and_then(|it| it.parse::<u64>().ok())
            };
            let open: std::collections::HashSet<u64> = open.filter_map(number).collect();
            (0..).find(|number| !open.contains(number)).expect("there are more numbers than that")
        };
        let looks = (0..50).map(|_| {
            thread::sleep(Duration::from_millis(2));
            look()
        });
        looks.min().expect("there were some")
    }

    /// Takes descriptors from it, or gives them back: it may have so many from now on.
    pub(crate) fn limit_descriptors(&self, most: u64) {
        let id = self.child.id().to_string();
        let limit = format!("--nofile={most}:{DESCRIPTORS_MAX}");
        let done = Command::new("prlimit").args(["--pid", &id, &limit]).status();
        assert!(done.expect("prlimit of util-linux is there").success());
    }

    /// Stops one thread, and no other, until the same thread of the test drops the returned value.
    /// It works as a debugger does, because a signal would stop all threads.
    pub(crate) fn freeze(&self, name: &str) -> StoppedThread {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let is_it = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path.join("comm")).is_ok_and(|it| it.trim_end() == name)
        };
        let path = tasks.find(is_it).unwrap_or_else(|| panic!("it has no thread {name}"));
        let id = path.file_name().and_then(|it| it.to_str()).expect("it is a number");
        let thread = Pid::from_raw(id.parse().expect("it is a number"));
        ptrace::seize(thread, ptrace::Options::empty()).expect("a child may be traced");
        let frozen = StoppedThread(thread);
        ptrace::interrupt(thread).expect("it is traced");
        waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
        frozen
    }

    /// Descriptors that it has open. It opens some for a moment by itself (to look at its own), so
    /// the least of several looks counts.
    pub(crate) fn descriptors(&self) -> usize {
        let look = || std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count();
        let looks = (0..5).map(|_| {
            thread::sleep(Duration::from_millis(2));
            look()
        });
        looks.min().expect("there were some")
    }

    /// The memory that the process itself holds, without the memory that the kernel holds for it.
    pub(crate) fn memory_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("it runs");
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end. A process that a signal ended has no code, and the test fails.
    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> i32 {
        eventually("the process ends", || !self.is_running());
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let status = self.child.wait().unwrap();
        status.code().unwrap_or_else(|| panic!("a signal ended the process: {status}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
            eprintln!("--- process {}, stdout:\n{stdout}\n--- stderr:\n{stderr}", self.child.id());
        }
    }
}
