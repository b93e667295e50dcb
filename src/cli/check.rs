//! `ringway check`: is this configuration sound?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use engine::config::{Model, render, to_json};
use serde_json::{Value, json};

use super::config::{self, Unusable};
use super::exit::{CANNOT_START, NO};
use super::{log, out};

/// The arguments of `ringway check`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file; - is standard input
    file: PathBuf,
    /// Print the mistakes, the first 100, as a JSON array: file, line, column, severity, what, why, cure
    #[arg(long)]
    json: bool,
}

/// 0 when it is, 1 when it is not, 3 when it cannot be read.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let answer = config::read(&arguments.file);
    let code = match answer {
        Ok(_) => ExitCode::SUCCESS,
        Err(Unusable::Text(_)) => ExitCode::from(NO),
        Err(Unusable::File(_)) => ExitCode::from(CANNOT_START),
    };
    if arguments.json {
        return out::answer(&format!("{:#}\n", json(&arguments.file, &answer)), code);
    }
    match answer {
        Ok(model) => out::answer(&sound(&arguments.file, &model), code),
        Err(unusable) => {
            unusable.tell(&arguments.file, log::colours(), log::complain);
            code
        }
    }
}

/// The answer about a sound configuration, after its warnings.
fn sound(file: &Path, model: &Model) -> String {
    if !model.warnings.is_empty() {
        log::complain(&render(&model.warnings, log::colours()));
    }
    let document = &model.document;
    format!(
        "{}: sound ({}, {}, {})\n",
        file.display(),
        counted(document.listeners.objects.len(), "listener"),
        counted(document.routes.objects.len(), "route"),
        counted(document.upstreams.objects.len(), "upstream"),
    )
}

/// All mistakes and warnings.
fn json(file: &Path, answer: &Result<Model, Unusable>) -> Value {
    match answer {
        Ok(model) => to_json(&model.warnings),
        Err(Unusable::Text(diagnostics)) => to_json(diagnostics),
        Err(Unusable::File(error)) => vec![json!({
            "file": file.display().to_string(),
            "line": null,
            "column": null,
            "severity": "error",
            "what": "the file cannot be read",
            "why": error.to_string(),
            "cure": null,
        })]
        .into(),
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test says what broke by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn json_has_a_place_and_a_cure_for_each_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broken.toml");
        std::fs::write(&file, "version = 1\n[listeners.web]\nadress = \"0.0.0.0:80\"\n").unwrap();
        let answer = json(&file, &config::read(&file));
        let mistake = |index: usize| &answer[index];
        assert_eq!(answer.as_array().map(Vec::len), Some(2));
        assert_eq!(mistake(1)["file"], json!(file.display().to_string()));
        assert_eq!((&mistake(1)["line"], &mistake(1)["column"]), (&json!(3), &json!(1)));
        assert_eq!(mistake(1)["severity"], json!("error"));
        assert_eq!(mistake(1)["what"], json!("unknown key `adress` in `listeners.web`"));
        assert_eq!(mistake(1)["cure"], json!("did you mean `address`?"));
        let missing = folder.path().join("missing.toml");
        let answer = json(&missing, &config::read(&missing));
        assert_eq!(answer[0]["what"], json!("the file cannot be read"));
    }
}
