//! No diagnostic shows a secret, whatever is wrong with the text around it.

use super::*;

const SECRET: &str = "s3cr3t-0123456789";

#[test]
fn no_mistake_shows_a_token() {
    let token = format!("token = \"{SECRET}\"");
    let rest = "[listeners.web]\naddress = \"127.0.0.1:0\"\n";
    for admin in [
        format!("[admin]\n{token}\naddress = \"nonsense\"\n"),
        format!("[admin]\nadress = \"off\"\n{token}\n"),
        format!("[admin]\n{token} address = \"off\"\n"),
        format!("[admin]\n{token}\n{token}\n"),
        format!("[admn]\n{token}\n"),
        format!("[admin]\ntokne = \"{SECRET}\"\n"),
        format!("[admin]\ntoken = {SECRET}\n"),
        format!("[admin]\ntoken = \"{SECRET}\n"),
        format!("[admin]\ntoken = \"{SECRET} \u{e9}\"\n"),
        format!("[admin]\ntoken = [\"{SECRET}\"]\n"),
        format!("[admin]\ntoken = {{ value = \"{SECRET}\" }}\n"),
        format!("[admin]\ntoken: {SECRET}\n"),
        format!("[admin]\ntoken.value = \"{SECRET}\"\n"),
        format!("[admin]\ntoken = '''\n{SECRET}\n'''\n"),
        format!("admin = {{ {token}, adress = \"off\" }}\n"),
        format!("admin.token = \"{SECRET}\"\nadmin.token = \"{SECRET}\"\n"),
        format!("\"admin\": {{ \"token\": \"{SECRET}\" }}\n"),
        format!("[admin]\ntoken = \"${{env:NOWHERE:-{SECRET}}}\"\nadress = 1\n"),
    ] {
        let sources = Sources::new("test.toml", format!("version = 1\n{admin}{rest}"));
        let mistakes = parse(&sources).expect_err(&admin);
        let shown = format!("{}\n{}", crate::config::render(&mistakes, false), to_json(&mistakes));
        for piece in [SECRET, "s3cr3t", "0123456789"] {
            assert!(!shown.contains(piece), "{admin}\n{shown}");
        }
    }
}

#[test]
fn a_filter_that_lets_requests_without_a_credential_pass_is_warned_of_and_a_key_stands_once() {
    let with = |consumers: &str, filter: &str| {
        let text = format!(
            "version = 1\n[listeners.a]\naddress = \"127.0.0.1:8080\"\n[routes.a]\n\
             reply = {{ status = 200 }}\nfilters = [{{ type = \"api_key\", {filter} }}]\n\
             {consumers}"
        );
        parse(&sources(&text))
    };
    let one = "[consumers.a]\napi_keys = [\"0123456789abcdef\"]\n";
    let warnings = |filter| render(&with(one, filter).unwrap().warnings);
    assert!(warnings("anonymous = true").contains("pass without a credential"));
    assert!(!warnings("anonymous = false").contains("credential"));
    let other = one.replace("consumers.a", "consumers.b");
    let mistakes = render(&with(&format!("{one}{other}"), "keep = true").unwrap_err());
    assert!(mistakes.contains("an API key of consumer `b` stands twice"), "{mistakes}");
    assert!(!mistakes.contains("0123456789abcdef"), "{mistakes}");
}
