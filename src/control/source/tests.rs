//! Reading real files: the texts, the mistakes, and that it ends.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;

use engine::config::parse;
use tempfile::TempDir;

use super::disk::STEPS_MAX;
use super::*;

const SOUND: &str = "version = 1\n[listeners.web]\naddress = \"127.0.0.1:1\"\n";

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// The mistakes of `main.toml` in `dir`, without the folder's own name.
fn said(dir: &TempDir) -> String {
    let sources = read(&dir.path().join("main.toml")).sources.unwrap();
    let said = match parse(&sources) {
        Ok(model) => model.warnings,
        Err(mistakes) => mistakes,
    };
    let said: String = said.iter().map(|it| format!("{it}\n")).collect();
    said.replace(&format!("{}/", dir.path().display()), "")
}

/// The names of all files, in order, relative to `dir`.
fn files(dir: &TempDir) -> Vec<String> {
    let sources = read(&dir.path().join("main.toml")).sources.unwrap();
    let root = format!("{}/", dir.path().display());
    sources.files().map(|file| file.replace(&root, "")).collect()
}

#[test]
fn what_is_included_is_read_and_values_are_put_in() {
    let reply = |name: &str, body: &str| {
        format!(
            "[routes.{name}]\nmatch = {{ path = \"/{name}\" }}\n\
             reply = {{ status = 200, body = \"{body}\" }}\n"
        )
    };
    let dir = folder(&[
        ("main.toml", &format!("include = [\"parts/*/*.toml\", \"last.toml\"]\n{SOUND}")),
        ("parts/a/a.toml", &reply("a", "${env:PATH}")),
        ("parts/b/b.toml", &reply("b", "${file:secret}")),
        ("parts/b/secret", "42\n"),
        ("parts/b/.hidden.toml", "not TOML"),
        ("parts/b/b.toml~", "not TOML"),
        ("parts/c.toml", "not TOML"),
        ("last.toml", &reply("last", "${env:RINGWAY_NO_SUCH_VARIABLE:-none}")),
    ]);
    assert_eq!(files(&dir), ["last.toml", "main.toml", "parts/a/a.toml", "parts/b/b.toml"]);
    let sources = read(&dir.path().join("main.toml")).sources.unwrap();
    let model = parse(&sources).unwrap();
    let table = engine::snapshot::compile(&model, 1, &mut engine::snapshot::Identities::default());
    let body = |index: usize| match &table.routes[index].action {
        engine::snapshot::Action::Reply(reply) => str::from_utf8(reply.body()).unwrap().to_owned(),
        action => panic!("{action:?}"),
    };
    assert_eq!(
        [body(0), body(1), body(2)],
        [std::env::var("PATH").unwrap(), "42".into(), "none".into()]
    );
}

#[test]
fn a_file_is_read_once_whatever_leads_to_it() {
    let dir = folder(&[
        ("main.toml", &format!("include = [\"x/*.toml\", \"x/../x/b.toml\"]\n{SOUND}")),
        ("x/b.toml", ""),
    ]);
    symlink("b.toml", dir.path().join("x/c.toml")).unwrap();
    assert_eq!(files(&dir), ["main.toml", "x/b.toml"]);
    assert_eq!(said(&dir), "");
}

#[test]
fn a_file_that_includes_itself_is_an_error_by_whatever_path() {
    for (include, circle) in [
        ("main.toml", "main.toml includes itself"),
        ("*.toml", "main.toml includes itself"),
        ("link.toml", "main.toml includes itself"),
        ("x/../main.toml", "main.toml includes itself"),
        ("x/b.toml", "x/b.toml -> "),
    ] {
        let dir = folder(&[
            ("main.toml", &format!("include = [\"{include}\"]\n{SOUND}")),
            ("x/b.toml", "include = [\"../main.toml\"]"),
        ]);
        symlink("main.toml", dir.path().join("link.toml")).unwrap();
        let said = said(&dir);
        assert!(said.contains(circle), "{include}: {said}");
    }
}

#[test]
fn what_is_not_there_is_said_where_it_is_asked_for() {
    for (text, place, what) in [
        ("include = [\"no.toml\"]", "main.toml:1:12", "no file is named no.toml"),
        ("include = [\"no/*.toml\"]", "main.toml:1:12", "no file is named no/*.toml"),
        ("include = [\"dangling\"]", "main.toml:1:12", "No such file"),
        ("include = [\"pipe\"]", "main.toml:1:12", "it is a pipe"),
        ("include = [\"sub\"]", "main.toml:1:12", "it is a folder"),
        ("include = [\"**/x\"]", "main.toml:1:12", "** is not known here"),
        ("include = [\"[\"]", "main.toml:1:12", "cannot include ["),
        ("admin.token = \"${file:no}\"", "main.toml:1:16", "No such file"),
        ("admin.token = \"${file:pipe}\"", "main.toml:1:16", "it is a pipe"),
        ("admin.token = \"${file:latin}\"", "main.toml:1:16", "it is not UTF-8"),
        ("admin.token = \"${file:large}\"", "main.toml:1:16", "it has more than 64KiB"),
    ] {
        let dir = folder(&[("main.toml", &format!("{text}\n{SOUND}")), ("sub/x", "")]);
        fs::write(dir.path().join("latin"), b"\xe4").unwrap();
        fs::write(dir.path().join("large"), vec![b'x'; VALUE_BYTES_MAX + 1]).unwrap();
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        make_pipe(&dir.path().join("pipe"));
        let said = said(&dir);
        assert!(said.contains(place) && said.contains(what), "{text}:\n{said}");
    }
}

#[test]
fn a_main_file_that_is_no_file_is_an_error_and_watched_all_the_same() {
    let dir = folder(&[("sub/x", "")]);
    let root = dir.path().canonicalize().unwrap();
    make_pipe(&root.join("pipe"));
    symlink("loop", root.join("loop")).unwrap();
    for (name, why) in [
        ("no.toml", "No such file"),
        ("sub", "it is a folder"),
        ("pipe", "it is a pipe"),
        ("loop", "symbolic links"),
        ("sub/x/y", "Not a directory"),
    ] {
        let Reading { sources, folders } = read(&root.join(name));
        let error = sources.unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
        assert!(folders.concerns(&root.join(name)) || folders.concerns(&root.join("sub/x")));
    }
    let error = read(Path::new("/dev/zero")).sources.unwrap_err().to_string();
    assert!(error.contains("it is a device"), "{error}");
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let dir = folder(&[("main.toml", "")]);
    // Takes no room on the disk.
    let file = File::create(dir.path().join("main.toml")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(said(&dir).contains("at most 8MiB in one file"));
}

#[test]
fn many_files_and_large_ones_end_at_a_bound_that_is_said() {
    let dir = folder(&[("main.toml", "include = [\"many/*\"]\n")]);
    fs::create_dir(dir.path().join("many")).unwrap();
    for number in 0..SOURCES_MAX {
        fs::write(dir.path().join(format!("many/{number}")), "").unwrap();
    }
    assert!(said(&dir).contains("at most 1000 files"), "{}", said(&dir));

    let dir = folder(&[("main.toml", "include = [\"large/*\"]\n")]);
    fs::create_dir(dir.path().join("large")).unwrap();
    for number in 0..9 {
        let file = File::create(dir.path().join(format!("large/{number}"))).unwrap();
        file.set_len(SOURCE_BYTES_MAX as u64).unwrap();
    }
    assert!(said(&dir).contains("more than 64MiB altogether"), "{}", said(&dir));

    let patterns: String = (0..STEPS_MAX).map(|number| format!("\"no-{number}*\",")).collect();
    let dir = folder(&[("main.toml", &format!("include = [{patterns}]\n"))]);
    assert!(said(&dir).contains("asks for more than 3000 files"));
}

#[test]
fn a_posted_text_gets_the_environment_and_no_files() {
    let secret = folder(&[("secret", "0123456789abcdef")]);
    let path = secret.path().join("secret");
    let text = |token: &str| format!("{SOUND}[admin]\ntoken = \"{token}\"\n");
    let model = parse(&posted(text("${env:PATH}"))).unwrap();
    assert_eq!(model.document.admin.token.unwrap().secret(), std::env::var("PATH").unwrap());
    let mistakes = parse(&posted(text(&format!("${{file:{}}}", path.display())))).unwrap_err();
    assert!(mistakes[0].to_string().contains("did not come with this text"), "{}", mistakes[0]);
    let include = format!("include = [\"{}\"]\n{SOUND}", path.display());
    let mistakes = parse(&posted(include)).unwrap_err();
    assert!(mistakes[0].to_string().contains("did not come with this text"), "{}", mistakes[0]);
}

fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}
