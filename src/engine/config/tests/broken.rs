//! A table of mistakes: the text, the place, the message.

use super::*;

/// A change of the sound text.
enum Edit {
    /// Lines at its end, from line 9 on.
    Add(&'static str),
    /// The first of these becomes the second.
    Swap(&'static str, &'static str),
    /// All of it.
    Whole(&'static str),
}

use Edit::{Add, Swap, Whole};

impl Edit {
    fn text(&self) -> String {
        match self {
            Add(lines) => format!("{SOUND}{lines}\n"),
            Swap(from, to) => {
                assert!(SOUND.contains(from), "{from}");
                SOUND.replacen(from, to, 1)
            }
            Whole(text) => (*text).to_owned(),
        }
    }
}

/// The edit, the place of the first mistake, and a part of its message.
type Row = (Edit, &'static str, &'static str);

/// Not TOML.
const SYNTAX: &[Row] = &[
    (Swap("[upstreams.users]", "[upstreams.users"), "5:17", "unclosed table"),
    (Swap("upstream = \"users\"", "upstream = \"users"), "8:18", "invalid basic string"),
    (Swap("upstream = \"users\"", "upstream = users"), "8:12", "string values must be quoted"),
    (Swap("upstream = \"users\"", "upstream = "), "8:12", "expected"),
    (Swap("upstream = \"users\"", "upstream"), "8:9", "key with no value"),
    (Swap("upstream = \"users\"", "= \"users\""), "8:1", "key"),
    (
        Swap("endpoints = [\"10.0.0.1:9000\"]", "endpoints = [\"10.0.0.1:9000\""),
        "6:29",
        "unclosed array",
    ),
    (Swap("address", "address = \"1.1.1.1:1\"\naddress"), "5:1", "duplicate key"),
    (Swap("[routes.users]", "[listeners.web]"), "7:12", "duplicate key"),
    (Add("[routes.b]\nmatch = { hosts = [\"a\"] upstream = \"users\" }"), "10:25", "expected `,`"),
    (Swap("version = 1", "version = 1 1"), "2:11", "must be quoted"),
    (Swap("version = 1", "version = 1e"), "2:13", "invalid exponent"),
    (Swap("version = 1", "version = \0"), "2:11", ""),
    (Swap("users", "us\0ers"), "5:14", ""),
    (Swap("users", "us\ters"), "5:14", ""),
    (Swap("\"users\"", "\"us\0ers\""), "8:15", ""),
    (Swap("\"users\"", "\"us\\qrs\""), "8:16", "escape"),
    (Whole("{ \"version\": 1 }"), "1:1", "this is JSON"),
    (Whole("version: 1\n"), "1:1", "this is YAML"),
    (Whole("<html>"), "1:1", "this is XML"),
];

/// Wrong keys, kinds and names.
const KEYS: &[Row] = &[
    (Whole(""), "1:1", "`version` is missing"),
    (Swap("version = 1", ""), "1:1", "`version` is missing"),
    (Swap("version = 1", "version = 2"), "2:11", "version 2 of the format is not known here"),
    (Swap("version = 1", "version = \"1\""), "2:11", "`version` is a string"),
    (Swap("version = 1", "version = 1\nroute = 1"), "3:1", "did you mean `routes`?"),
    (Swap("version = 1", "version = 1\nroutes = 1"), "3:10", "`routes` is a number"),
    (Swap("address", "adress"), "3:1", "`listeners.web` has no `address`"),
    (
        Add("[routes.b]\nmatch = { host = [\"a\"], path = \"/\" }\nupstream = \"users\""),
        "10:11",
        "`hosts`?",
    ),
    (
        Add("[routes.b]\ncolours = []\nmatch.path = \"/\"\nupstream = \"users\""),
        "10:1",
        "the keys here are: match",
    ),
    (Add("[runtime]\ncores = true"), "10:9", "`runtime.cores` is a boolean"),
    (Add("[runtime]\ncores = 1.5"), "10:9", "a number with a fraction"),
    (Add("[runtime]\ncores = 1979-05-27"), "10:9", "`runtime.cores` is a date"),
    (Add("runtime = 1"), "9:1", "unknown key `runtime` in `routes.users`"),
    (Add("[[runtime]]"), "9:1", "`runtime` is a list"),
    (Add("[runtime]\ncpus = [0]"), "10:8", "`runtime.cpus` is a list"),
    (Add("[listeners]\nx = 1"), "10:5", "`listeners.x` is a number"),
    (Add("[routes.\"a b\"]\nupstream = \"users\""), "9:9", "`a b` cannot be a name"),
    (Add("[routes.\"\"]\nupstream = \"users\""), "9:9", "`` cannot be a name"),
    (Add("[routes.b]\nmatch = { hosts = \"a\" }\nupstream = \"users\""), "10:19", "is a string"),
    (Add("[routes.b]\nmatch = { hosts = [1] }\nupstream = \"users\""), "10:20", "match.hosts[0]`"),
    (Add("[routes.b]\nupstream = [\"users\"]"), "10:12", "`routes.b.upstream` is a list"),
];

/// Values that make no sense.
const VALUES: &[Row] = &[
    (Add("[runtime]\ncores = 0"), "10:9", "\"0\" is not \"all\" or a count"),
    (Add("[runtime]\ncores = 99999999999999999999"), "10:9", "out of range"),
    (Add("[runtime]\ncpus = \"0-\""), "10:8", "\"0-\" is not a CPU"),
    (Add("[runtime]\ndriver = \"uring\""), "10:10", "is not \"auto\", \"io_uring\" or \"epoll\""),
    (Add("[runtime]\nbuffer_bytes_max = \"1KiB\""), "10:20", "\"1KiB\" is not between \"1MiB\""),
    (Add("[runtime]\nbuffer_bytes_max = -1"), "10:20", "-1 is not a size"),
    (Add("[admin]\naddress = \"9901\""), "10:11", "\"9901\" is not an address"),
    (Add("[admin]\naddress = \"unix:admin.sock\""), "10:11", "write it from the root"),
    (Add("[admin]\naddress = \"0.0.0.0:9901\""), "10:11", "would be open to other hosts"),
    (Add("[admin]\ntoken = \"short\""), "10:9", "the token is too short"),
    (Add("[admin]\ntoken = \"sixteen letters!\""), "10:9", "the token cannot stand in a header"),
    (Add("[access_log]\nto = \"\""), "10:6", "leave [access_log] out"),
    (Add("[access_log]\nto = \"/var/log/\""), "10:6", "is not the path of a file"),
    (Add("[access_log]\nto = \"stderr\""), "10:6", "write \"stdout\""),
    (Add("[access_log]\nformat = \"xml\""), "10:10", "\"xml\" is not \"json\""),
    (Swap("127.0.0.1:8080", "127.0.0.1:99999"), "4:11", "\"127.0.0.1:99999\" is not an address"),
    (Swap("8080\"", "8080\"\nlimits.connections_max = 0"), "5:26", "write \"off\" for none"),
    (Swap("8080\"", "8080\"\ntimeouts.idle = \"25h\""), "5:17", "between \"10ms\" and \"24h\""),
    (Swap("9000\"]", "9000\"]\ntimeouts.first_byte = \"1ms\""), "7:23", "not between"),
    (Swap("9000\"]", "9000\"]\npool.connections_max = -5"), "7:24", "-5 is out of range"),
    (Swap("[\"10.0.0.1:9000\"]", "[]"), "6:13", "upstream `users` has no endpoint"),
    (Swap("\"10.0.0.1:9000\"", "{ weight = 2 }"), "6:14", "has no `address`"),
    (
        Swap("\"10.0.0.1:9000\"", "{ address = \"1.1.1.1:1\", weight = -1 }"),
        "6:48",
        "-1 is out of range",
    ),
    (Swap("upstream = \"users\"", "upstream = \"user\""), "8:12", "did you mean `users`?"),
    (Swap("upstream = \"users\"", ""), "7:1", "has none of `upstream`"),
];

/// Mistakes in a route.
const ROUTES: &[Row] = &[
    (Add("redirect = { to = \"/x\" }"), "9:1", "has both `upstream` and `redirect`"),
    (Add("reply = { status = 200 }"), "9:1", "has both `upstream` and `reply`"),
    (Add("match = { path = \"/a\", path_prefix = \"/a\" }"), "9:24", "`path` and `path_prefix`"),
    (Add("match = { path = \"a\" }"), "9:18", "begin it with a slash"),
    (Add("match = { path = \"/a/*\" }"), "9:18", "{*rest} as the last segment"),
    (Add("match = { path_prefix = \"/a?b\" }"), "9:25", "leave query and fragment out"),
    (Add("match = { methods = [] }"), "9:21", "matches no method"),
    (Add("match = { methods = [\"get\"] }"), "9:22", "write \"GET\": case counts"),
    (Add("match = { methods = [\"G E T\"] }"), "9:22", "\"G E T\" is not a method"),
    (Add("match = { methods = [\"CONNECT\"] }"), "9:22", "CONNECT is not served"),
    (Add("match = { methods = [\"GET\", \"GET\"] }"), "9:29", "names the method GET twice"),
    (Add("match = { hosts = [\"*.*.b\"] }"), "9:20", "a star stands for whole labels"),
    (Add("[routes.b]\nupstream = \"users\""), "9:9", "`users` and `b` are both for any host"),
    (
        Add(
            "[routes.b]\nredirect = { to = \"/x\" }\nmatch.path = \"/b\"\ntimeouts = { total = \"1s\" }",
        ),
        "12:12",
        "has `timeouts` and no `upstream`",
    ),
    (Add("timeouts = { total = \"1ms\" }"), "9:22", "not between \"10ms\" and \"24h\""),
    (Add("[routes.b]\nredirect = { status = 301 }"), "10:12", "has no `to`"),
    (Add("[routes.b]\nredirect = { to = \"x.y\" }"), "10:19", "begin it with https://"),
    (Add("[routes.b]\nredirect = { to = \"/{uri}\" }"), "10:19", "{uri} is not a placeholder"),
    (Add("[routes.b]\nredirect = { to = \"/a\", status = 305 }"), "10:34", "305 is no redirect"),
    (Add("[routes.b]\nreply = { body = \"x\" }"), "10:9", "has no `status`"),
    (Add("[routes.b]\nreply = { status = 99 }"), "10:20", "99 is not between 200 and 599"),
    (
        Add("[routes.b]\nmatch.path = \"/b\"\nreply = { status = 204, body = \"x\" }"),
        "11:32",
        "no body",
    ),
    (Add("[routes.b]\nreply.status = 200\nreply.headers = { a = 1 }"), "11:23", "is a number"),
    (
        Add("[routes.b]\nreply.status = 200\nreply.headers = { \"content-length\" = \"1\" }"),
        "11:19",
        "frames the message",
    ),
    (
        Add("[routes.b]\nreply.status = 200\nreply.headers = { connection = \"close\" }"),
        "11:19",
        "is about one connection",
    ),
    (
        Add("[filters.f]\ntype = \"request_headers\"\nremove = [\"CDN-Loop\"]"),
        "11:11",
        "ends loops",
    ),
    (
        Add("[routes.b]\nreply.status = 200\nreply.headers = { \"a b\" = \"1\" }"),
        "11:19",
        "has no sound name",
    ),
    (
        Add("[routes.b]\nreply.status = 200\nreply.headers = { a = \"x\\r\\ny: z\" }"),
        "11:23",
        "cannot be the value of a header",
    ),
    (
        Add("[routes.b]\nreply.status = 200\nreply.headers = { a = \"1\", A = \"2\" }"),
        "11:28",
        "is given twice",
    ),
    (
        Add("[listeners.b]\naddress = \"127.0.0.1:9901\""),
        "10:11",
        "the admin API and listener `b` ask for the same address",
    ),
];

#[test]
fn each_mistake_is_found_in_its_place() {
    let rows = || SYNTAX.iter().chain(KEYS).chain(VALUES).chain(ROUTES);
    assert!(rows().count() >= 60);
    let mut wrong = String::new();
    for (edit, place, message) in rows() {
        let text = edit.text();
        let Err(diagnostics) = parse(&sources(&text)) else {
            wrong += &format!("this is taken for sound:\n{text}\n");
            continue;
        };
        for it in diagnostics.iter().filter(|it| it.cure().is_none()) {
            wrong += &format!("no cure\n{it}\n\n");
        }
        let (line, column) = diagnostics[0].position();
        let said = diagnostics[0].to_string();
        if format!("{line}:{column}") != *place || !said.contains(message) {
            wrong += &format!("expected {place} {message}\n{said}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
