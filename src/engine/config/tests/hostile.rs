//! Texts that are no configuration at all, or that strain a parser.

use std::time::{Duration, Instant};

use super::*;

fn only(sources: &Sources) -> Diagnostic {
    let mut diagnostics = parse(sources).expect_err("the text is not sound");
    assert_eq!(diagnostics.len(), 1, "{}", render(&diagnostics));
    diagnostics.remove(0)
}

#[test]
fn a_file_that_is_too_long_is_one_mistake() {
    let diagnostic = only(&sources(&"#".repeat(10_000_000)));
    assert!(diagnostic.to_string().contains("at most 8MiB in one file"), "{diagnostic}");
    assert_eq!((diagnostic.file(), diagnostic.position()), ("test.toml", (1, 1)));
}

#[test]
fn bytes_that_are_not_utf_8_are_found_in_their_place() {
    let mut bytes = SOUND.as_bytes().to_vec();
    bytes.extend(b"# caf\xc3\xa9 \xe9\n");
    let diagnostic = only(&Sources::new("test.toml", bytes));
    assert_eq!(diagnostic.position(), (9, 8));
    assert!(diagnostic.to_string().contains("the byte 0xe9 is not UTF-8"), "{diagnostic}");
    let diagnostic = only(&Sources::new("test.toml", b"version = 1\nx = \"\xf0\x9f".to_vec()));
    assert_eq!(diagnostic.position(), (2, 6));
}

#[test]
fn every_beginning_of_a_text_is_parsed_without_a_panic() {
    let text = include_str!("../../../../config/ringway.toml");
    // Half of a file may be wrong in any way, but never without a message.
    for end in (0..text.len()).step_by(37) {
        if let Some(text) = text.get(..end)
            && let Err(diagnostics) = parse(&sources(text))
        {
            assert!(!render(&diagnostics).is_empty());
        }
    }
}

#[test]
fn depth_does_not_overflow_the_stack() {
    // A small stack, as a thread of a server may have.
    let deep = || {
        let many = 100_000;
        for text in [
            format!("a = {}", "[".repeat(many)),
            format!("a = {}{}", "[".repeat(many), "]".repeat(many)),
            format!("a = {}", "{a=".repeat(many)),
            format!("a = {}1{}", "{a=".repeat(many), "}".repeat(many)),
            format!("a{} = 1", ".a".repeat(many)),
            format!("[a{}]", ".a".repeat(many)),
            format!("[[a{}]]", ".a".repeat(many)),
            format!("a = {{ a{} = 1 }}", ".a".repeat(many)),
            "[a]\n".repeat(many),
            "[[a]]\n".repeat(many),
            "a = 1\n".repeat(many),
        ] {
            let diagnostics = parse(&sources(&text)).expect_err("it is not sound");
            assert!(!super::super::render(&diagnostics, false).is_empty());
            if !text.contains('\n') {
                assert_eq!(diagnostics.len(), 1);
                assert!(diagnostics[0].what().contains("nested too deeply"), "{}", diagnostics[0]);
            }
            let _ = references(text.as_bytes());
        }
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(deep).unwrap().join().unwrap();
}

#[test]
fn at_most_a_hundred_mistakes_are_shown_and_the_rest_is_counted() {
    let lines: String = (0..250).map(|index| format!("key{index} = 1\n")).collect();
    let diagnostics = parse(&sources(&format!("{lines}{SOUND}"))).unwrap_err();
    assert_eq!(diagnostics.len(), 250);
    let shown = super::super::render(&diagnostics, false);
    assert_eq!(shown.matches("error:").count(), DIAGNOSTICS_SHOWN_MAX);
    assert!(shown.ends_with("250 mistakes; the first 100 are shown"), "{shown}");
}

#[test]
fn of_a_long_text_that_is_not_toml_only_the_first_mistake_is_said() {
    let diagnostic = only(&sources(&"]\n".repeat(1_000_000)));
    assert_eq!(diagnostic.position(), (1, 1));
}

#[test]
fn no_more_mistakes_are_kept_than_anybody_needs() {
    // Each line has two: its key, and its variable.
    let lines: String = (0..20_000).map(|index| format!("a{index} = \"${{b}}\"\n")).collect();
    let diagnostics = parse(&sources(&format!("{lines}{SOUND}"))).unwrap_err();
    assert_eq!(diagnostics.len(), 20_000);
}

#[test]
fn a_long_line_is_shown_in_part() {
    let text = format!(
        "{SOUND}[routes.b]\nupstream = \"users\"\nmatch.hosts = [{}\"*.*\"]\n",
        "\"a\", ".repeat(100_000)
    );
    let diagnostics = parse(&sources(&text)).unwrap_err();
    let said = diagnostics[0].to_string();
    assert!(said.len() < 2000, "{} bytes", said.len());
    assert!(said.contains("\"*.*\" is not a host"), "{said}");
    let (line, column) = diagnostics[0].position();
    assert_eq!((line, column), (11, 500_016));
    assert!(said.contains("test.toml:11:500016"), "{said}");
}

/// Quadratic cost would show as minutes here, not as a slow machine.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may look at the clock")]
fn large_texts_take_no_more_than_their_size() {
    let size = 20_000;
    let each = |line: &dyn Fn(usize) -> String| (0..size).map(line).collect::<String>();
    let texts = [
        (
            "routes",
            each(&|it| format!("[routes.r{it}]\nmatch.path = \"/{it}\"\nupstream = \"users\"\n")),
        ),
        ("upstreams", each(&|it| format!("[upstreams.u{it}]\nendpoints = [\"10.0.0.1:1\"]\n"))),
        (
            "listeners",
            each(&|it| {
                format!("[listeners.l{it}]\naddress = \"10.0.{}.{}:1\"\n", it / 256, it % 256)
            }),
        ),
        (
            "dangling",
            each(&|it| {
                format!(
                    "[upstreams.upstream{it}]\nendpoints = [\"10.0.0.1:1\"]\n\
                 [routes.r{it}]\nmatch.path = \"/{it}\"\nupstream = \"upstraem{it}\"\n"
                )
            }),
        ),
        ("ties", each(&|it| format!("[routes.r{it}]\nupstream = \"users\"\n"))),
        ("unknown keys", each(&|it| format!("[a{it}]\n"))),
        (
            "methods",
            each(&|it| {
                format!("[routes.r{it}]\nmatch.methods = [\"M{it}\"]\nupstream = \"users\"\n")
            }),
        ),
        (
            "hosts",
            format!("[routes.r]\nupstream = \"users\"\nmatch.hosts = [{}]\n", {
                each(&|it| format!("\"h{it}\", "))
            }),
        ),
        (
            "headers",
            format!("[routes.r]\nreply = {{ status = 200, headers = {{ {} }} }}\n", {
                each(&|it| format!("h{it} = \"\", ")).trim_end_matches(", ").to_owned()
            }),
        ),
        ("not TOML", "] [ = \" \n".repeat(size)),
    ];
    for (name, text) in texts {
        let started = Instant::now();
        if let Err(diagnostics) = parse(&sources(&format!("{SOUND}{text}"))) {
            let _ = super::super::render(&diagnostics, false);
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(40), "{name}: {took:?}");
    }
}
