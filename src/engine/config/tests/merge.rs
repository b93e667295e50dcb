//! Several texts, and variables in them.

use super::*;

const MAIN: &str = r#"version = 1
include = ["routes/*.toml"]
[listeners.web]
address = "127.0.0.1:8080"
[upstreams.users]
endpoints = ["10.0.0.1:9000"]
"#;

const ROUTE: &str = "[routes.users]\nupstream = \"users\"\n";

/// A main file that includes `others`.
fn including(main: &str, others: &[(&str, &str)]) -> Sources {
    let mut sources = Sources::new("main.toml", main);
    let names = others.iter().map(|(name, _)| (*name).to_owned()).collect();
    sources.add_include("main.toml", "routes/*.toml", Ok(names));
    for (name, text) in others {
        sources.add_file(*name, Ok(text.as_bytes().to_vec()));
    }
    sources
}

fn refused(sources: &Sources) -> String {
    render(&parse(sources).expect_err("the texts are not sound"))
}

fn assert_says(sources: &Sources, parts: &[&str]) {
    let said = refused(sources);
    for part in parts {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert_eq!(said.matches("error:").count(), 1, "{said}");
}

/// The sound configuration with `value` as the address of its endpoint.
fn with_endpoint(value: &str) -> Sources {
    Sources::new("main.toml", SOUND.replace("10.0.0.1:9000", value))
}

fn endpoint(sources: &Sources) -> String {
    let model = parse(sources).unwrap_or_else(|it| panic!("{}", render(&it)));
    let (_, upstream) = &model.document.upstreams.objects[0];
    upstream.endpoints[0].address.to_string()
}

#[test]
fn what_is_included_is_merged() {
    let more = "[upstreams.more]\nendpoints = [\"10.0.0.2:1\"]\n[routes.more]\n\
                match = { path_prefix = \"/more\" }\nupstream = \"more\"\n";
    let sources = including(MAIN, &[("routes/a.toml", ROUTE), ("routes/b.toml", more)]);
    let model = parse(&sources).unwrap_or_else(|it| panic!("{}", render(&it)));
    let names = |named: &Named<Route>| {
        named.objects.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&model.document.routes), ["users", "more"]);
    assert_eq!(model.document.upstreams.objects.len(), 2);
    assert!(model.warnings.is_empty());
}

#[test]
fn included_files_may_include_and_circles_are_named() {
    let name = |name: &str| Ok(vec![name.to_owned()]);
    // Two ways to one file are no circle.
    let inner = "include = [\"b.toml\"]\n";
    let files = [("routes/a.toml", inner), ("routes/b.toml", ROUTE)];
    let mut sources = including(MAIN, &files);
    sources.add_include("routes/a.toml", "b.toml", name("routes/b.toml"));
    let model = parse(&sources).unwrap_or_else(|it| panic!("{}", render(&it)));
    assert_eq!(model.document.routes.objects.len(), 1);

    let mut sources = including(MAIN, &[("routes/a.toml", &format!("{inner}{ROUTE}"))]);
    sources.add_include("routes/a.toml", "b.toml", name("routes/a.toml"));
    let place = "routes/a.toml:1:12";
    assert_says(&sources, &["routes/a.toml includes itself", place]);

    let mut sources = including(MAIN, &files);
    sources.add_include("routes/a.toml", "b.toml", name("main.toml"));
    let circle = "in a circle: main.toml -> routes/a.toml -> main.toml";
    assert_says(&sources, &[circle, place]);

    // The main file leads to both, and they to each other.
    let files = [("routes/a.toml", inner), ("routes/b.toml", "include = [\"a.toml\"]\n")];
    let mut sources = including(MAIN, &files);
    sources.add_include("routes/a.toml", "b.toml", name("routes/b.toml"));
    sources.add_include("routes/b.toml", "a.toml", name("routes/a.toml"));
    let circle = "in a circle: routes/a.toml -> routes/b.toml -> routes/a.toml";
    assert_says(&sources, &[circle, "routes/b.toml:1:12"]);
}

#[test]
fn an_object_in_two_files_is_named_with_both_places() {
    let sources = including(MAIN, &[("routes/a.toml", ROUTE), ("routes/b.toml", ROUTE)]);
    assert_says(
        &sources,
        &[
            "`routes.users` is defined twice",
            "routes/b.toml:1:9",
            "routes/a.toml:1:9",
            "first here",
        ],
    );
}

#[test]
fn a_section_in_two_files_is_named_with_both_places() {
    let main = format!("{MAIN}{ROUTE}[runtime]\ncores = 1\n");
    let sources = including(&main, &[("routes/a.toml", "[runtime]\ncores = 2\n")]);
    assert_says(
        &sources,
        &["`runtime` is given in two files", "routes/a.toml:1:2", "main.toml:9:2"],
    );
    let sources = including(&main, &[("routes/a.toml", "version = 1\n")]);
    assert!(parse(&sources).is_ok(), "the same version may be said twice");
    let sources = including(&main, &[("routes/a.toml", "version = 2\n")]);
    assert_says(&sources, &["`version` is given in two files"]);
    let sources = including(&main, &[("routes/a.toml", "routes = 5\n")]);
    assert_says(&sources, &["`routes` is a number", "routes/a.toml:1:10"]);
}

#[test]
fn mistakes_in_several_files_are_reported_together_in_their_order() {
    let main = MAIN.replace("8080", "port");
    let bad = "[routes.a]\nupstrem = \"users\"\n";
    let torn = "[routes.b\n";
    let diagnostics =
        parse(&including(&main, &[("routes/a.toml", bad), ("routes/b.toml", torn)])).unwrap_err();
    let places: Vec<_> =
        diagnostics.iter().map(|it| (it.file().to_owned(), it.position().0)).collect();
    let place = |file: &str, line| (file.to_owned(), line);
    assert_eq!(
        places,
        [
            place("main.toml", 4),
            place("routes/a.toml", 1),
            place("routes/a.toml", 2),
            place("routes/b.toml", 1)
        ],
        "{}",
        render(&diagnostics)
    );
}

#[test]
fn what_cannot_be_included_is_said_at_the_pattern() {
    let main = format!("{MAIN}{ROUTE}");
    let mut sources = including(&main, &[]);
    let model = parse(&sources).unwrap();
    assert_eq!(model.warnings.len(), 1);
    let warning = model.warnings[0].to_string();
    assert!(warning.contains("warning: no file is named routes/*.toml"), "{warning}");
    assert!(warning.contains("main.toml:2:12"), "{warning}");
    sources.add_include("main.toml", "routes/*.toml", Err("permission denied".to_owned()));
    assert_says(&sources, &["cannot include routes/*.toml: permission denied", "main.toml:2:12"]);

    let main = main.replace("routes/*.toml", "a.toml");
    let mut sources = Sources::new("main.toml", main);
    assert_says(&sources, &["a.toml did not come with this text"]);
    sources.add_include("main.toml", "a.toml", Ok(Vec::new()));
    assert_says(&sources, &["no file is named a.toml", "relative to the file"]);
    sources.add_include("main.toml", "a.toml", Ok(vec!["a.toml".to_owned()]));
    assert_says(&sources, &["cannot read a.toml: it did not come with this text"]);
    sources.add_file("a.toml", Err("is a directory".to_owned()));
    assert_says(&sources, &["cannot read a.toml: is a directory", "main.toml:2:12"]);
}

#[test]
fn too_many_files_are_one_mistake() {
    let mut sources = including(&format!("{MAIN}{ROUTE}"), &[]);
    let names: Vec<_> = (0..SOURCES_MAX + 10).map(|index| format!("routes/{index}.toml")).collect();
    for name in &names {
        sources.add_file(name, Ok(Vec::new()));
    }
    sources.add_include("main.toml", "routes/*.toml", Ok(names));
    assert_says(&sources, &["at most 1000 files", "main.toml:2:12"]);
}

#[test]
fn variables_are_replaced_in_strings() {
    let mut sources = with_endpoint("${env:HOST}:${env:PORT:-9000}");
    sources.add_environment("HOST", Ok("10.0.0.7".to_owned()));
    assert_eq!(endpoint(&sources), "10.0.0.7:9000");
    sources.add_environment("PORT", Ok("81".to_owned()));
    assert_eq!(endpoint(&sources), "10.0.0.7:81");
    let mut sources = with_endpoint("${file:/run/secrets/address}");
    sources.add_value("main.toml", "/run/secrets/address", Ok("10.0.0.8:1\r\n".to_owned()));
    assert_eq!(endpoint(&sources), "10.0.0.8:1");
}

#[test]
fn a_value_cannot_change_the_structure() {
    let hostile = "1.2.3.4:5\"]\n[routes.evil]\nupstream = \"users";
    let mut sources = with_endpoint("${env:HOSTILE}");
    sources.add_environment("HOSTILE", Ok(hostile.to_owned()));
    let said = refused(&sources);
    assert_eq!(said.matches("error:").count(), 1, "{said}");
    assert!(!said.contains("evil"), "{said}");
    // Nor is a value looked into for variables.
    sources.add_environment("HOSTILE", Ok("${env:HOSTILE}".to_owned()));
    assert!(refused(&sources).contains("cannot be used"));
}

#[test]
fn a_missing_variable_is_said_at_its_place_with_the_cure() {
    assert_says(
        &with_endpoint("10.0.0.1:${env:PORT}"),
        &["the environment variable PORT is not set", "main.toml:6:24", "${env:PORT:-default}"],
    );
    assert_says(&with_endpoint("${file:a}"), &["a did not come with this text", "main.toml:6:15"]);
    let mut sources = with_endpoint("${file:a}");
    sources.add_value("main.toml", "a", Err("no such file".to_owned()));
    assert_says(&sources, &["cannot read a: no such file", "main.toml:6:15"]);
    assert_says(&with_endpoint("${vault:a}"), &["${vault:a} is not a variable", "$${ stands for"]);
    assert_says(&with_endpoint("${env:A"), &["a variable does not end", "close it with }"]);
    let mut sources = with_endpoint("${env:A}");
    sources.add_environment("A", Err("it is not UTF-8".to_owned()));
    assert_says(&sources, &["the environment variable A cannot be used: it is not UTF-8"]);
}

#[test]
fn values_are_bounded() {
    let mut sources = with_endpoint("${env:A}");
    sources.add_environment("A", Ok("x".repeat(VALUE_BYTES_MAX + 1)));
    assert_says(&sources, &["the value of this variable has 65537 bytes"]);
    // Many mentions of one long value are bounded too.
    let text = format!("{SOUND}[routes.a]\nreply = {{ status = 200, body = \"{}\" }}\n", {
        "${env:A}".repeat(SOURCE_BYTES_MAX / VALUE_BYTES_MAX + 1)
    });
    let mut sources = Sources::new("main.toml", text);
    sources.add_environment("A", Ok("x".repeat(VALUE_BYTES_MAX)));
    assert_says(&sources, &["the values of all variables together are too long"]);
}

#[test]
fn a_dollar_before_a_variable_keeps_it_as_it_is() {
    let text = format!(
        "{SOUND}[routes.a]\nmatch = {{ path = \"/a\" }}\n\
         reply = {{ status = 200, body = \"$${{env:A}} costs $5\" }}\n"
    );
    let model = parse(&sources(&text)).unwrap_or_else(|it| panic!("{}", render(&it)));
    let (_, route) = &model.document.routes.objects[1];
    let Destination::Reply(reply) = &route.destination else { panic!("{route:?}") };
    assert_eq!(reply.body.0, "${env:A} costs $5");
}

/// Each of these is sound or not, but none is shown.
#[test]
fn no_secret_is_shown_whatever_is_wrong_with_it() {
    const SECRET: &str = "hunter2secret";
    let values = [
        SECRET.to_owned(),
        format!("{SECRET}-long-enough-for-a-token"),
        format!("{SECRET}\n with spaces"),
        format!("unix:{SECRET}"),
        format!("{SECRET}.example"),
        format!("/{SECRET}/../x"),
        format!("https://{SECRET}/{{{SECRET}}}"),
        format!("3-1{SECRET}"),
    ];
    let lines = [
        "[runtime]\ncores = \"@\"",
        "[runtime]\ncpus = \"@\"",
        "[runtime]\ndriver = \"@\"",
        "[runtime]\nbuffer_bytes_max = \"@\"",
        "[admin]\naddress = \"@\"",
        "[admin]\naddress = \"0.0.0.0:1\"\ntoken = \"@\"",
        "[access_log]\nto = \"@\"",
        "[access_log]\nformat = \"@\"",
        "[listeners.b]\naddress = \"@\"",
        "[listeners.b]\naddress = \"127.0.0.1:1\"\nlimits.headers_max = \"@\"",
        "[listeners.b]\naddress = \"127.0.0.1:1\"\nlimits.connections_max = \"@\"",
        "[listeners.b]\naddress = \"127.0.0.1:1\"\ntimeouts.head = \"@\"",
        "[upstreams.b]\nendpoints = [\"@\"]",
        "[upstreams.b]\nendpoints = [{ address = \"@\" }]",
        "[routes.b]\nupstream = \"@\"",
        "[routes.b]\nupstream = \"@\"\n[routes.c]\nupstream = \"@\"",
        "[routes.b]\nupstream = \"users\"\nmatch.hosts = [\"@\", \"@\"]",
        "[routes.b]\nupstream = \"users\"\nmatch.path = \"@\"\n[routes.c]\nmatch.path = \"@\"",
        "[routes.b]\nupstream = \"users\"\nmatch.path_prefix = \"@\"",
        "[routes.b]\nupstream = \"users\"\nmatch.methods = [\"@\", \"@\"]",
        "[routes.b]\nredirect = { to = \"@\" }",
        "[routes.b]\nredirect = { to = \"/\", status = \"@\" }",
        "[routes.b]\nreply = { status = \"@\" }",
        "[routes.b]\nreply = { status = 204, body = \"@\" }",
        "[routes.b]\nreply = { status = 200, headers = { a = \"@\" } }",
    ];
    let ties = "[routes.t1]\nmatch.hosts = [\"@\"]\nupstream = \"users\"\n\
                [routes.t2]\nmatch.hosts = [\"@\"]\nupstream = \"users\"";
    for value in &values {
        for line in lines.iter().chain([&ties]) {
            for written in ["${env:SECRET}", "${env:UNSET:-}${env:SECRET}", "$${${env:SECRET}"] {
                let text = format!("{SOUND}{}\n", line.replace('@', written));
                let mut sources = sources(&text);
                sources.add_environment("SECRET", Ok(value.clone()));
                let shown = match parse(&sources) {
                    Ok(model) => {
                        format!("{}{model:?}{}", model.normalised(), render(&model.warnings))
                    }
                    Err(diagnostics) => {
                        let json: Vec<_> = diagnostics.iter().map(Diagnostic::to_json).collect();
                        format!("{}{json:?}", render(&diagnostics))
                    }
                };
                assert!(!shown.contains("hunter2"), "{line}\n{shown}");
                assert!(!format!("{sources:?}").contains("hunter2"));
            }
        }
    }
}
