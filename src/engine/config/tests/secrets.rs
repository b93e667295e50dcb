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
