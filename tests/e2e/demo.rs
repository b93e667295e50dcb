//! `ringway demo`: the commands that it prints work.

use std::process::Command;

use crate::harness::{Process, driver, ready_line, ringway, skip};

#[test]
fn the_lines_that_the_demo_prints_can_be_run_as_they_are() {
    if Command::new("curl").arg("--version").output().is_err() {
        skip("the lines of the demo: curl is not installed");
        return;
    }
    let mut demo = Process::start(ringway().args(["demo", "--driver", &driver()]));
    let (line, address) = ready_line(&demo);
    assert!(line.contains(&format!("driver {}", driver())), "{line}");
    let last = demo.stdout.wait_for(|line| line.contains("Ctrl-C").then_some(()));
    assert_eq!(last, Some(()));
    let lines: Vec<_> = demo.stdout.all();
    let lines: Vec<_> =
        lines.iter().map(|it| it.trim()).filter(|it| it.starts_with("curl ")).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let answers: Vec<_> = lines.iter().map(|line| run(line)).collect();
    for (line, answer) in lines.iter().zip(&answers) {
        let is_plain = line.contains(&address.to_string());
        assert!(is_plain || line.contains("https://127.0.0.1:"), "{line}");
        // Over TLS, curl offers HTTP/2 where it knows it.
        let version = answer.split(' ').next().unwrap_or_default();
        assert!(version == "HTTP/1.1" || !is_plain && version == "HTTP/2", "{line}: {answer}");
    }
    assert!(answers[0].contains(" 200 ") && answers[1].contains(" 200 "), "{answers:?}");
    assert!(answers[2].contains(" 404 ") && answers[2].contains("no_route"), "{answers:?}");
    assert!(answers[3].contains(" 200 "), "{answers:?}");
    // "in turn: repeat the first line".
    let is_one = |answer: String| answer.contains("\"endpoint\":\"one\"");
    let repeated: Vec<_> = (0..4).map(|_| is_one(run(lines[0]))).collect();
    assert!(repeated == [true, false, true, false] || repeated == [false, true, false, true]);
    demo.terminate();
    assert_eq!(demo.exit_code(), 0);
}

/// Runs a printed line as a reader would, but without the proxy settings of the environment.
fn run(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).env("no_proxy", "*").output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
