//! Mistakes that people make, and the cure that each is told.

use super::*;

/// The lines that replace a line of the sound text, and a part of the cure.
type Row = (&'static str, &'static str);

/// Values of `address` of a listener.
const ADDRESSES: &[Row] = &[
    ("127.0.0.1:8080", "write it in double quotes: \"127.0.0.1:8080\""),
    ("8080", "\"0.0.0.0:8080\" to listen on all addresses"),
    ("true", "write an IP address and a port"),
    ("[\"127.0.0.1:8080\"]", "write an IP address and a port"),
    ("\"*:8080\"", "\"0.0.0.0:8080\" to listen on all addresses"),
    ("\":8080\"", "\"0.0.0.0:8080\" to listen on all addresses"),
    ("\"8080\"", "\"0.0.0.0:8080\" to listen on all addresses"),
    ("\"127.0.0.1\"", "add a port: \"127.0.0.1:8080\""),
    ("\"127.0.0.1:\"", "write a port from 0 to 65535 behind 127.0.0.1"),
    ("\"127.0.0.1:99999\"", "write a port from 0 to 65535 behind 127.0.0.1"),
    ("\"::1\"", "add brackets and a port: \"[::1]:8080\""),
    ("\"[::1]\"", "add brackets and a port: \"[::1]:8080\""),
    ("\"::1:8080\"", "write \"[::1]:8080\""),
    (":::8080", "write it in double quotes"),
    ("\":::8080\"", "write \"[::]:8080\""),
    ("\"2001:db8::1:443\"", "write \"[2001:db8::1]:443\""),
    ("\"[fe80::1%eth0]:80\"", "leave out %eth0"),
    ("\"fe80::1%eth0\"", "leave out %eth0"),
    ("\"localhost:8080\"", "write \"127.0.0.1:8080\""),
    ("\"localhost\"", "write \"127.0.0.1:8080\""),
    ("\"users.internal:80\"", "only `endpoints` may be names: write the IP address"),
    ("\"http://127.0.0.1:80/x\"", "write \"127.0.0.1:80\", without scheme and path"),
    ("\"tcp://127.0.0.1:80\"", "write \"127.0.0.1:80\", without scheme and path"),
    ("\"/run/x.sock\"", "write \"unix:/run/x.sock\""),
    ("\"unix:run/x.sock\"", "write it from the root: \"unix:/run/x.sock\""),
    ("\"256.0.0.1:80\"", "write an IP address and a port"),
    ("", "write a value behind the ="),
    ("\"127.0.0.1:8080", "close it with \""),
    ("'127.0.0.1:8080", "close it with '"),
    ("“127.0.0.1:8080”", "write straight quotes"),
    ("\"127.0.0.1:8080\";", "leave the ; at the end out"),
    ("\"127.0.0.1:8080\",", "leave the , at the end out"),
];

/// Lines below the address of a listener.
const LISTENER: &[Row] = &[
    ("timeouts.idle = \"75\"", "write \"75s\" for seconds"),
    ("timeouts.idle = 75", "write \"75s\" for seconds"),
    ("timeouts.idle = 7.5", "write a duration such as \"300ms\""),
    ("timeouts.idle = \"30 s\"", "write \"30s\""),
    ("timeouts.idle = \"1.5s\"", "write \"1500ms\""),
    ("timeouts.idle = \"30sec\"", "write \"30s\""),
    ("timeouts.idle = \"5min\"", "write \"5m\""),
    ("timeouts.idle = 30s", "write it in double quotes: \"30s\""),
    ("timeouts.idle = \"1d\"", "write \"24h\""),
    ("timeouts.idle = \"25h\"", "write \"10ms\" to \"24h\""),
    (
        "timeouts.idle = \"off\"",
        "write a duration such as \"300ms\", \"2s\", \"1m\" or \"1h\", from \"10ms\" to \"24h\"",
    ),
    ("timeouts.tunnel_idle = \"0\"", "write \"off\" for none"),
    ("timeouts.tunnel_idle = 0", "write \"off\" for none"),
    ("timeouts.tunnel_idle = false", "write \"off\" for none"),
    ("timeouts.tunnel_idle = \"none\"", "write \"off\" for none"),
    ("timeouts.tunnel_idle = off", "write it in double quotes: \"off\""),
    ("timeouts = \"30s\"", "write a table such as { head = \"10s\" }"),
    ("timeouts.total = \"1s\"", "write `timeouts.total` in a route"),
    ("limits.body_bytes_max = \"10M\"", "write \"10MiB\""),
    ("limits.body_bytes_max = \"256MB\"", "write \"256MiB\""),
    ("limits.body_bytes_max = \"1 GiB\"", "write \"1GiB\""),
    ("limits.body_bytes_max = \"1024\"", "write \"1KiB\""),
    ("limits.body_bytes_max = 10MiB", "write it in double quotes: \"10MiB\""),
    ("limits.body_bytes_max = \"big\"", "write a size such as \"16KiB\""),
    ("limits.body_bytes_max = -1", "write \"off\" for none"),
    ("limits.head_bytes_max = -1", "from \"1KiB\" to \"1MiB\""),
    ("limits.headers_max = -1", "write a whole number, from 1 to 1000"),
    ("limits.headers_max = 99999999999", "write a whole number, from 1 to 1000"),
    ("limits.headers_max = 99999999999999999999", "write a whole number, from 1 to 1000"),
    ("limits.headers_max = 0", "write 1 to 1000"),
    ("limits.headers_max = \"50\"", "write 50 without quotes"),
    ("limits.headers_max = \"off\"", "write a whole number, from 1 to 1000"),
    ("limits.headers_max = 1_0_0_", "write it in double quotes"),
    ("limits.connections_max = -1", "write \"off\" for none"),
    ("limits.connections_max = 1.5", "write a whole number, or \"off\", from 1 to 10000000"),
    ("limits = 5", "write a table such as { connections_max = 100000 }"),
    ("limit.headers_max = 5", "did you mean `limits`?"),
    ("proxy_protocol = true", "write \"off\", \"optional\" or \"required\""),
    ("proxy_protocol = false", "write \"off\""),
    ("proxy_protocol = \"Required\"", "did you mean \"required\"?"),
    ("proxy_protocol = \"v2\"", "write \"off\", \"optional\" or \"required\""),
    ("path = \"normalize\"", "did you mean \"normalise\"?"),
    ("trusted_proxies = \"10.0.0.0/8\"", "write [\"10.0.0.0/8\"]"),
    ("trusted_proxies = [\"10.0.0.1/8\"]", "write \"10.0.0.0/8\" for the block"),
    ("trusted_proxies = [\"*\"]", "write a block of addresses"),
    ("tls = true", "write a table such as { certificates = [\"site\"] }"),
    ("tls = { cert = \"a.pem\", key = \"a.key\" }", "write certificates = [\"site\"]"),
    ("tls = { certificates = [] }", "certificates = [\"site\"]"),
    ("tls = { certificates = [\"sute\"] }", "add [certificates.sute] with `cert` and `key`"),
    ("tls = { certificates = \"site\" }", "write [\"site\"]"),
    ("tls = { certificates = [\"a\"], policy = \"old\" }", "write \"modern\" or \"intermediate\""),
    ("tls = { certificates = [\"a\"], client_ca = \"a.pem\" }", "write client_auth = \"required\""),
    ("tls = { certificates = [\"a\"], client_auth = \"required\" }", "add client_ca ="),
    ("certificate = \"a.pem\"", "write tls = { certificates"),
    ("listen = 80", "write address ="),
    ("idle_timeout = \"5s\"", "write `timeouts.idle`"),
];

/// Lines in an upstream.
const UPSTREAM: &[Row] = &[
    ("endpoints = \"10.0.0.1:1\"", "write [\"10.0.0.1:1\"]"),
    ("endpoints = []", "add one, such as \"127.0.0.1:9000\""),
    ("endpoints = [9000]", "write \"127.0.0.1:9000\""),
    ("endpoints = [\"10.0.0.1:0\"]", "write the port that the endpoint listens on"),
    ("endpoints = [\"10.0.0.1:1\" \"10.0.0.2:1\"]", "write a comma between the two"),
    ("endpoints = [\"10.0.0.1:1\"", "close it with ]"),
    ("endpoints = [{ address = \"10.0.0.1:1\" ]", "a comma"),
    ("endpoints = [{ weight = 2 }]", "add address = \"127.0.0.1:9000\""),
    ("endpoints = [{ address = \"10.0.0.1:1\", weight = 1001 }]", "write 0 to 1000"),
    ("endpoints = [{ host = \"10.0.0.1\" }]", "add address = "),
    ("servers = [\"10.0.0.1:1\"]", "add endpoints = "),
    ("endpoints = [\"10.0.0.1:1\"]\nhealth_check = {}", "write `health`"),
    ("endpoints = [\"10.0.0.1:1\"]\npool = 5", "write a table such as { connections_max"),
    ("endpoint = [\"10.0.0.1:1\"]", "add endpoints = "),
];

/// Lines in a route beside `upstream = "users"`.
const ROUTE: &[Row] = &[
    ("match = \"/x\"", "write a table such as { hosts = "),
    ("match = { hosts = \"a\" }", "write [\"a\"]"),
    ("match = { hosts = [\"*\"] }", "leave `hosts` out to match any host"),
    ("match = { hosts = [\"::1\"] }", "write \"[::1]\""),
    ("match = { hosts = [\"[::1]:80\"] }", "leave the port out"),
    ("match = { hosts = [\"a.b:80\"] }", "leave the port out"),
    ("match = { path_prefix = \"/u/{id}\" }", "write path = \"/u/{id}/{*rest}\""),
    ("match = { path = \"/u/x-{id}\" }", "whole segment"),
    ("match = { path_regex = \"v1\" }", "begin it with a slash"),
    ("match = { path_regex = \"/(\" }", "in the syntax of RE2"),
    ("match = { headers = { x = 1 } }", "write \"1\""),
    ("match = { headers = { x = { prefix = \"\" } } }", "{ present = true }"),
    ("match = { headers = { x = { begins = \"a\" } } }", "the keys here are: exact, prefix"),
    ("match = { headers = { x = {} } }", "add exact, prefix"),
    ("match = { headers = { x = { present = false } } }", "{ absent = true }"),
    ("match = { headers = { X = \"1\", x = \"2\" } }", "leave one out"),
    ("match = { headers = { host = \"a\" } }", "write `hosts`"),
    ("match = { headers = \"x\" }", "write a table such as"),
    ("match = { header = { x = \"1\" } }", "write `headers`"),
    ("match = { listeners = [\"wep\"] }", "did you mean `web`?"),
    ("match = { listeners = [] }", "leave `listeners` out"),
    ("match = { clients = [] }", "leave `clients` out"),
    ("match = { clients = [\"10.1.0.0/8\"] }", "write \"10.0.0.0/8\""),
    ("match = { priority = \"high\" }", "write a whole number"),
    ("match = { priority = 1000001 }", "write -1000000 to 1000000"),
    ("priority = 1", "write `match.priority`"),
    ("match = { hosts = [] }", "leave `hosts` out to match any host"),
    ("match = { methods = \"GET\" }", "write [\"GET\"]"),
    ("match = { methods = [\"get\"] }", "write \"GET\": case counts"),
    ("match = { path = \"x\" }", "begin it with a slash"),
    ("match = { path_prefix = \"/x/*\" }", "leave the star out"),
    ("match = { path = \"/a\", path_prefix = \"/a\" }", "leave one of them out"),
    ("strip_prefix = \"/x\"", "write filters = [{ type = \"rewrite\""),
    ("rate_limit = \"5/s\"", "write filters = [{ type = \"rate_limit\""),
    ("path = \"/x\"", "put it into `match`"),
    ("redirect = \"https://x\"", "leave one of them out"),
    ("reply = 404", "leave one of them out"),
    ("upgrades = \"tcp\"", "write [\"tcp\"]"),
    ("match.hosts = [\"a\"", "close it with ]"),
    ("match = { hosts = [\"a\"]", "close it with }"),
];

/// Lines of a route that has no upstream.
const ALONE: &[Row] = &[
    ("upstream = users", "write it in double quotes: \"users\""),
    ("upstream: \"users\"", "write upstream = \"users\""),
    ("upstream \"users\"", "write upstream = \"users\""),
    ("upstream", "write key = value"),
    ("upstream = [\"users\"]", "write a string"),
    ("upstream = \"user\"", "did you mean `users`?"),
    ("proxy_pass = \"http://10.0.0.1\"", "add upstream = \"NAME\", or redirect or reply"),
    ("redirect = \"https://x\"", "write { to = \"https://x\" }"),
    ("redirect = { status = 301 }", "add to = \"https://new.example.com{path}\""),
    ("redirect = { to = \"https://x\", status = 200 }", "write 301, 302, 303, 307 or 308"),
    ("reply = 404", "write { status = 404 }"),
    ("reply = \"404\"", "write a table such as { status = 503 }"),
    ("reply = { status = 99 }", "write 200 to 599"),
    ("reply = { status = 70000 }", "from 200 to 599"),
    ("reply = { status = \"404\" }", "write 404 without quotes"),
    ("reply = { status = 200, headers = [] }", "write a table of headers such as"),
    ("", "add upstream = \"NAME\", or redirect or reply"),
];

/// Whole texts.
const TEXTS: &[Row] = &[
    ("[[listeners]]\naddress = \"127.0.0.1:1\"\n", "write [listeners.NAME] above each"),
    ("[listeners]\naddress = \"127.0.0.1:1\"\n", "write a table such as { address"),
    ("server {\n  listen 80;\n}\n", "see config/minimal.toml"),
    ("listeners:\n  web:\n    address: x\n", "see config/minimal.toml"),
    ("{\n  \"version\": 1\n}\n", "see config/minimal.toml"),
    ("frontend web\n  bind *:80\n", "see config/minimal.toml"),
    ("[listeners.Web]\naddress = \"127.0.0.1:1\"\n", "write web"),
    ("[listeners.\"my site\"]\naddress = \"127.0.0.1:1\"\n", "write my-site"),
    ("[listeners.web\naddress = \"127.0.0.1:1\"\n", "close it with ]"),
    ("version = \"1\"\n", "write 1 without quotes"),
    ("version = 2\n", "write 1"),
    ("", "add version = 1"),
    ("http = {}\n", "write [listeners.NAME], [routes.NAME] and [upstreams.NAME]"),
    ("routers = {}\n", "write [routes.NAME]"),
    ("include = \"x.toml\"\n", "write [\"x.toml\"]"),
];

#[test]
fn each_mistake_has_its_cure_in_one_line() {
    let around = |from: &str, row: &Row, to: &dyn Fn(&str) -> String| {
        assert!(SOUND.contains(from), "{from}");
        (SOUND.replacen(from, &to(row.0), 1), row.1)
    };
    let address =
        ADDRESSES.iter().map(|row| around("\"127.0.0.1:8080\"", row, &|it| it.to_owned()));
    let listener = LISTENER
        .iter()
        .map(|row| around("\"127.0.0.1:8080\"", row, &|it| format!("\"127.0.0.1:8080\"\n{it}")));
    let upstream = UPSTREAM
        .iter()
        .map(|row| around("endpoints = [\"10.0.0.1:9000\"]", row, &|it| it.to_owned()));
    let route = ROUTE.iter().map(|row| {
        around("upstream = \"users\"", row, &|it| format!("upstream = \"users\"\n{it}"))
    });
    let alone = ALONE.iter().map(|row| around("upstream = \"users\"", row, &|it| it.to_owned()));
    let texts = TEXTS.iter().map(|(text, cure)| ((*text).to_owned(), *cure));
    let mut wrong = String::new();
    let mut count = 0;
    for (text, cure) in
        address.chain(listener).chain(upstream).chain(route).chain(alone).chain(texts)
    {
        count += 1;
        let Err(diagnostics) = parse(&sources(&text)) else {
            wrong += &format!("this is taken for sound:\n{text}\n");
            continue;
        };
        let is_whole = |it: &Diagnostic| it.cure().is_some_and(|cure| !cure.contains('\n'));
        let is_told = diagnostics.iter().any(|it| it.cure().is_some_and(|it| it.contains(cure)));
        if !is_told || !diagnostics.iter().all(is_whole) {
            wrong += &format!("expected the cure: {cure}\n{}\n\n", render(&diagnostics));
        }
    }
    assert!(count >= 146, "{count}");
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn values_that_are_probably_not_meant_are_warned_of() {
    let route = |text: &str| SOUND.replace("upstream = \"users\"", text);
    let upstream = |text: &str| SOUND.replace("[\"10.0.0.1:9000\"]", text);
    for (text, what, cure) in [
        (
            route("upstream = \"users\"\nmatch = { path = \"/v[0-9]+/x\" }"),
            "the path \"/v[0-9]+/x\" is compared letter by letter",
            "write `path_regex` for a regular expression",
        ),
        (
            upstream("[\"10.0.0.1:1\", \"10.0.0.1:1\"]"),
            "10.0.0.1:1 stands twice in upstream `users`",
            "leave one out, or give one a `weight`",
        ),
        (upstream("[\"0.0.0.0:80\"]"), "0.0.0.0:80 is every address", "write \"127.0.0.1:80\""),
        (upstream("[\"[::]:80\"]"), "[::]:80 is every address", "write \"[::1]:80\""),
        (
            upstream("[\"unix:/s.sock:/uri\"]"),
            "the name of this socket has a colon in it",
            "write \"unix:/s.sock\"",
        ),
        (
            upstream("[\"127.0.0.1:8080\"]"),
            "127.0.0.1:8080 is listener `web` of this gateway",
            "write the address of the application",
        ),
        (
            upstream("[\"127.0.0.1:9901\"]"),
            "127.0.0.1:9901 is the admin API of this gateway",
            "write the address of the application",
        ),
        (
            format!("{SOUND}[upstreams.other]\nendpoints = [\"10.0.0.1:1\"]\n"),
            "no route goes to upstream `other`",
            "write upstream = \"other\" in a route, or leave it out",
        ),
    ] {
        warns(&text, what, cure);
    }
    for (to, what) in [
        ("https://x{path}?{query}", "{query} brings a question mark of its own"),
        ("https://x/?a=b&{query}", "{query} brings a question mark of its own"),
        ("https://x{query}{query}", "{query} brings a question mark of its own"),
        ("https://x/{path}", "{path} brings a slash of its own"),
        ("https://{host}/{path}", "{path} brings a slash of its own"),
    ] {
        let text = format!("{SOUND}[routes.b]\nmatch.path = \"/b\"\nredirect.to = \"{to}\"\n");
        warns(&text, what, "write");
    }
    for to in ["https://x{path}{query}", "https://x/y{path}", "/x{query}", "https://{host}{path}"] {
        let text = format!("{SOUND}[routes.b]\nmatch.path = \"/b\"\nredirect.to = \"{to}\"\n");
        assert!(parse(&sources(&text)).unwrap().warnings.is_empty(), "{to}");
    }
}

fn warns(text: &str, what: &str, cure: &str) {
    let model = parse(&sources(text)).unwrap_or_else(|it| panic!("{}", render(&it)));
    let is_it = |it: &Diagnostic| {
        let leaves_out = it.cure().is_some_and(|it| it.contains("leave the slash"));
        it.what().starts_with(what) && (leaves_out || it.cure().is_some_and(|it| it.contains(cure)))
    };
    assert!(model.warnings.iter().any(is_it), "{what}\n{}", render(&model.warnings));
}
