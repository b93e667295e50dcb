//! `ringway run` and `ringway check`: the mistakes that they refuse, with their messages and exit
//! codes.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;

use crate::harness::{
    Endpoint, GET, Gateway, Process, config_file, driver, eventually, ready_line, ringway, run,
};

const GOOD: &str = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:0\"\n\
                    [upstreams.app]\nendpoints = [\"127.0.0.1:9000\"]\n\
                    [routes.all]\nupstream = \"app\"\n";

/// Line 3 has an unknown key, line 7 a name that is nowhere.
const BAD: &str = "version = 1\n[listeners.web]\nadress = \"127.0.0.1:0\"\naddress = \
                   \"127.0.0.1:0\"\n[upstreams.app]\nendpoints = [\"127.0.0.1:9000\"]\n\
                   routes.all.upstream = \"ap\"\n";

/// Runs `ringway run` with `config` and `arguments`; it must end by itself. Returns the exit code
/// and the output.
fn refused(config: &Path, arguments: &[&str]) -> (i32, String) {
    let (code, process) = Process::run(run(config).args(arguments));
    (code, process.stderr.text())
}

fn check(config: &Path) -> (i32, String) {
    let (code, process) = Process::run(ringway().arg("check").arg(config));
    (code, process.stderr.text())
}

#[test]
fn a_sound_configuration_passes_check() {
    let (code, said) = check(config_file(GOOD).path());
    assert_eq!((code, said.as_str()), (0, ""));
    let minimal = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/minimal.toml");
    assert_eq!(check(&minimal), (0, String::new()));
}

#[test]
fn every_mistake_is_named_with_its_place_by_check_and_run() {
    let bad = BAD.replace("routes.all.upstream", "[routes.all]\nupstream");
    let config = config_file(&bad);
    let place = |line: usize| format!("{}:{line}:", config.path().display());
    let (code, by_check) = check(config.path());
    assert_eq!(code, 1);
    let (code, by_run) = refused(config.path(), &[]);
    assert_eq!(code, 3);
    for said in [by_check, by_run] {
        assert!(said.contains(&place(3)) && said.contains("adress"), "{said}");
        assert!(said.contains("`address`"), "the cure: {said}");
        assert!(said.contains(&place(8)) && said.contains("`ap`"), "{said}");
        assert!(said.contains("2 mistakes"), "{said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = Path::new("/nonexistent/ringway.toml");
    for (code, said) in [check(path), refused(path, &[])] {
        assert_eq!(code, 3);
        assert!(said.contains("/nonexistent/ringway.toml"), "{said}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &["run", "--driver", "kqueue"][..],
        &["run", "--cores", "0"],
        &["run", "--cpus", "3-1"],
        &["run", "--unknown"],
        &["run"],
        &["walk"],
        &[],
    ] {
        let (code, process) = Process::run(ringway().args(arguments));
        assert_eq!(code, 2, "{arguments:?}: {}", process.stderr.text());
    }
}

#[test]
fn a_port_in_use_is_named_with_a_way_to_find_the_other() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let config = config_file(&GOOD.replace("127.0.0.1:0", &address));
    let (code, said) = refused(config.path(), &[]);
    assert_eq!(code, 3);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    assert!(said.contains("help:"), "{said}");
}

#[test]
fn a_second_gateway_does_not_share_the_port_of_the_first() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let config = config_file(&GOOD.replace("127.0.0.1:0", &gateway.address().to_string()));
    let (code, said) = refused(config.path(), &[]);
    assert_eq!(code, 3);
    assert!(said.contains("in use"), "{said}");
    assert_eq!(gateway.client().get("/").text(), "ok");
}

#[test]
fn a_gateway_starts_again_on_the_port_of_its_predecessor() {
    let endpoint = Endpoint::ok();
    let first = Gateway::in_front_of(&[&endpoint]).start();
    let address = first.address();
    // The gateway ends these connections, so they linger in TIME_WAIT.
    let mut clients: Vec<_> = (0..5).map(|_| first.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    first.stop();
    let config = config_file(&GOOD.replace("127.0.0.1:0", &address.to_string()));
    let second = Process::start(run(config.path()).args(["--cores", "1"]));
    assert_eq!(ready_line(&second).1, address);
}

#[test]
fn a_cpu_that_is_not_there_is_named() {
    let config = config_file(GOOD);
    let (code, said) = refused(config.path(), &["--cpus", "999"]);
    assert_eq!(code, 3);
    assert!(said.contains("CPU 999") && said.contains("help:"), "{said}");
}

#[test]
fn more_cores_than_cpus_are_counted() {
    let config = config_file(GOOD);
    let (code, said) = refused(config.path(), &["--cores", "999"]);
    assert_eq!(code, 3);
    assert!(said.contains("999 cores") && said.contains("help:"), "{said}");
    let (code, said) = refused(config.path(), &["--cores", "2", "--cpus", "0"]);
    assert_eq!(code, 3);
    assert!(said.contains("2 cores"), "{said}");
}

#[test]
fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
    let config = config_file(
        &GOOD
            .replace("version = 1\n", "version = 1\n[runtime]\ncores = 1\ndriver = \"io_uring\"\n"),
    );
    let by_variable = Process::start(
        ringway().arg("run").env("RINGWAY_CONFIG", config.path()).env("RINGWAY_DRIVER", "epoll"),
    );
    let (line, _) = ready_line(&by_variable);
    assert!(line.contains("1 core,") && line.contains("driver epoll"), "{line}");
    let by_flag = Process::start(
        run(config.path()).args(["--driver", "epoll"]).env("RINGWAY_DRIVER", "nonsense"),
    );
    let (line, _) = ready_line(&by_flag);
    assert!(line.contains("driver epoll"), "{line}");
    let (code, said) = refused(config.path(), &["--cores", "998"]);
    assert!(code == 3 && said.contains("998 cores"), "{said}");
}

#[test]
fn the_log_is_one_json_object_per_line_when_nobody_watches() {
    let endpoint = Endpoint::ok();
    let gateway = Gateway::in_front_of(&[&endpoint]).start();
    let mut client = gateway.client();
    client.send(GET);
    assert_eq!(client.response().text(), "ok");
    let log = gateway.process.stderr.clone();
    gateway.stop();
    for line in log.all() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    }
    assert!(log.text().contains(&format!("driver {}", driver())));
}

/// The log of a gateway that is started with these arguments and variables, and stopped; read from
/// a file, with the variable by which journald marks its socket if it is to be taken for that.
fn log_of(text: &str, arguments: &[&str], variables: &[(&str, &str)], is_journal: bool) -> String {
    let config = config_file(text);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = run(config.path());
    command.args(["--cores", "1"]).args(arguments).envs(variables.iter().copied());
    let metadata = log.as_file().metadata().unwrap();
    let inode = metadata.ino() + u64::from(!is_journal);
    command.env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev()));
    let mut child = command.stdin(Stdio::null()).stderr(log.reopen().unwrap()).spawn().unwrap();
    let text = || std::fs::read_to_string(log.path()).unwrap();
    eventually("it has said something", || {
        text().contains("listening on") || child.try_wait().unwrap().is_some()
    });
    let _ = child.kill();
    let _ = child.wait();
    text()
}

#[test]
fn the_log_is_text_or_json_as_asked_by_flag_variable_or_key_and_text_under_journald() {
    let endpoint = Endpoint::ok();
    let text = Gateway::in_front_of(&[&endpoint]).text();
    let with = |format: &str| format!("{text}\n[runtime]\nlog = \"{format}\"\n");
    let is_json = |log: &str| log.lines().all(|line| line.starts_with('{') && line.ends_with('}'));
    let variable = |format| [("RINGWAY_LOG", format)];
    assert!(is_json(&log_of(&text, &[], &[], false)));
    assert!(!is_json(&log_of(&text, &[], &[], true)));
    assert!(is_json(&log_of(&with("json"), &[], &[], true)));
    assert!(!is_json(&log_of(&with("text"), &[], &[], false)));
    assert!(is_json(&log_of(&with("text"), &[], &variable("json"), false)));
    assert!(!is_json(&log_of(&with("json"), &["--log", "text"], &variable("json"), false)));
    // Mistakes of the file are readable lines.
    let refused = log_of(&text.replace("upstream =", "upstraem ="), &[], &[], true);
    assert!(refused.lines().any(|line| line.ends_with("did you mean `upstream`?")), "{refused}");
}

#[test]
fn the_form_of_the_log_needs_a_restart() {
    let endpoint = Endpoint::ok();
    let builder = Gateway::in_front_of(&[&endpoint]).admin();
    let gateway = builder.start();
    let refused =
        gateway.admin("POST", "/v1/config", &builder.and("[runtime]\nlog = \"text\"").text());
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("cannot change runtime.log"), "{}", refused.text());
    gateway.stop();
}

#[test]
fn a_pipe_is_read_by_check_and_by_run() {
    let endpoint = Endpoint::ok();
    let folder = tempfile::tempdir().unwrap();
    let more = "[routes.more]\nmatch = { path = \"/more\" }\nreply = { status = 202 }\n";
    std::fs::write(folder.path().join("more.toml"), more).unwrap();
    // The files that the text names are found from the current folder.
    let text = format!("include = [\"more.toml\"]\n{}", Gateway::in_front_of(&[&endpoint]).text());
    let text = text + "[admin]\naddress = \"off\"\n";
    let check = |arguments: &[&str], text: &str| {
        let mut command = ringway();
        command.current_dir(folder.path()).args(arguments);
        let (reader, mut writer) = std::io::pipe().unwrap();
        let child = command.stdin(reader).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
        drop((writer, command));
        let output = child.unwrap().wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), said)
    };
    for path in ["-", "/dev/stdin", "/dev/fd/0"] {
        let (code, said) = check(&["check", path], &text);
        assert_eq!(code, Some(0), "{path}: {said}");
        assert!(said.contains(&format!("{path}: sound (1 listener, 2 routes")), "{said}");
        let (code, said) = check(&["check", path], "version = 1\nfoo = 1\n");
        assert_eq!(code, Some(1), "{path}: {said}");
        assert!(said.contains(&format!("{path}:2:1")), "{said}");
    }
    // Process substitution of a shell names a pipe by its descriptor.
    let shell = |command: &str| {
        let mut shell = std::process::Command::new("bash");
        let binary = ringway().get_program().to_owned();
        shell.arg("-c").arg(command).env("RINGWAY", binary).env("TEXT", &text);
        shell.current_dir(folder.path());
        shell
    };
    let status = shell("$RINGWAY check <(printf %s \"$TEXT\")").status().unwrap();
    assert_eq!(status.code(), Some(0));
    let command = "exec $RINGWAY run --cores 1 -c <(printf %s \"$TEXT\")";
    let mut gateway = Process::start(&mut shell(command));
    let (_, address) = ready_line(&gateway);
    assert_eq!(crate::harness::Client::connect(address).get("/more").status, 202);
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    let said = gateway.stderr.wait_for(|line| line.contains("from a pipe").then_some(()));
    said.expect("a pipe cannot be read again");
    gateway.terminate();
    assert_eq!(gateway.exit_code(), 0);
}

#[test]
fn too_few_descriptors_are_said_with_the_cure() {
    let config = config_file(GOOD);
    for limit in 6..32 {
        let binary = ringway().get_program().to_owned();
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(format!("ulimit -n {limit} && exec \"$0\" \"$@\"")).arg(binary);
        shell.args(["run", "--cores", "2", "--driver", &driver(), "-c"]).arg(config.path());
        let mut process = Process::start(&mut shell);
        let started = process.stderr.wait_for(|line| line.contains("listening on").then_some(()));
        if started.is_some() {
            assert!(limit > 16, "{limit} are enough");
            process.terminate();
            assert_eq!(process.exit_code(), 0);
            return;
        }
        assert_eq!(process.exit_code(), 3, "{limit}: {}", process.stderr.text());
        assert!(process.stderr.text().contains("ulimit -n"), "{limit}: {}", process.stderr.text());
    }
    panic!("31 descriptors are not enough");
}

#[test]
fn help_is_wrapped_at_words_for_a_narrow_terminal() {
    for arguments in
        [&["--help"][..], &["run", "--help"], &["status", "--help"], &["check", "--help"]]
    {
        let output = ringway().args(arguments).env("COLUMNS", "60").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        for line in help.lines() {
            assert!(line.chars().count() <= 60, "{arguments:?}: {line}");
        }
    }
}
