//! A section with every kind of key, read, written and described.

use serde_json::Value as Json;

use super::reference::{pages, sample, schema};
use super::*;
use crate::time::Micros;

words! {
    /// A colour.
    enum Colour {
        /// Red.
        #[default]
        Red = "red",
        /// Blue.
        Blue = "blue",
    }
}

section! {
    /// A pot of paint.
    Pot short colour {
        /// Its colour.
        colour: Colour => KeyRule::required("\"red\"");
        /// How full it is.
        fill: Fraction => KeyRule::default(Fraction::percent(100));
    }
}

one_of! {
    /// The way of painting.
    Tool {
        /// With a brush of this width.
        Brush = "brush_width": u32 => KeyRule::optional("3");
        /// By a machine of this name.
        Machine = "machine": String => KeyRule::optional("\"m1\"");
    }
}

section! {
    /// Paints a wall.
    Paint {
        /// The pots.
        pots: Vec<Pot> => KeyRule::required("[\"red\"]");
        /// The tool.
        tool: Tool => ExactlyOne("add brush_width = 3, or machine");
        /// Whether it has to dry.
        dry: bool => KeyRule::default(true);
        /// How fast.
        speed: Limit<u32> => KeyRule::default(Limit::OFF).within_or_off(1..=10);
    }
}

section! {
    /// Waits.
    settings Wait {
        /// How long.
        time: Micros => KeyRule::default(Micros::secs(1)).within(SHORTEST..=LONGEST);
        /// How often.
        rate: Option<EventRate> => KeyRule::optional("\"5/m\"");
    }
}

tagged! {
    /// A step of the work.
    enum Work {
        /// Painting.
        Paint(Paint) = "paint";
        /// Waiting.
        Wait(Wait) = "wait";
    }
}

section! {
    /// A day's work.
    Day {
        /// Its steps by name.
        steps: Named<Work> => KeyRule::named("first");
        /// A step that is always done first.
        before: Option<Work> => KeyRule::optional_section();
    }
}

/// No advice.
fn none(_: &str, _: &str) -> Option<(&'static str, String)> {
    None
}

/// Reads a day, or gives the mistakes as "what | cure".
fn read(text: &str) -> Result<Day, Vec<String>> {
    let mut texts = Texts::default();
    let number = texts.push("test.toml", text.to_owned());
    let root = Item { span: Span::START, kind: ItemKind::Table(toml::read(number, text).unwrap()) };
    let torn = std::collections::BTreeSet::new();
    let mut walk = Walk::new(&texts, &torn, none);
    let day = Day::read(&root, &mut walk);
    let said =
        |it: &Diagnostic| format!("{} | {}", it.what(), it.cure().unwrap_or("no cure".into()));
    let mistakes: Vec<String> = walk.diagnostics.iter().map(said).collect();
    if mistakes.is_empty() { Ok(day.unwrap()) } else { Err(mistakes) }
}

const FULL: &str = r#"
[steps.paint]
type = "paint"
pots = ["blue", { colour = "red", fill = 0.25 }, { colour = "red", fill = "12.5%" }]
brush_width = 4
dry = false
speed = 10
[steps.second]
type = "wait"
time = "2s"
rate = "100/s"
[steps.third]
type = "paint"
pots = [{ colour = "red" }]
machine = "m"
"#;

const WRITTEN: &str = r#"
[steps.paint]
type = "paint"
pots = ["blue", { colour = "red", fill = "25%" }, { colour = "red", fill = "12.5%" }]
brush_width = 4
dry = false
speed = 10

[steps.second]
type = "wait"
time = "2s"
rate = "100/s"

[steps.third]
type = "paint"
pots = ["red"]
machine = "m"
dry = true
speed = "off"
"#;

#[test]
fn every_kind_of_key_is_written_as_it_is_read() {
    let day = read(FULL).unwrap();
    let written = day.write().document(&std::collections::BTreeSet::new());
    assert_eq!(written, WRITTEN);
    assert_eq!(read(&written), Ok(day));
}

#[test]
fn settings_are_those_of_an_empty_table() {
    let day = read("[steps.a]\ntype = \"wait\"\n").unwrap();
    assert!(matches!(&day.steps.objects[0].1, Work::Wait(wait) if *wait == Wait::default()));
}

#[test]
fn each_mistake_has_its_cure() {
    let paint = |line: &str| format!("[steps.a]\ntype = \"paint\"\npots = [\"red\"]\n{line}\n");
    let wait = |line: &str| format!("[steps.a]\ntype = \"wait\"\n{line}\n");
    for (text, expected) in [
        ("[steps.a]\n".to_owned(), "`steps.a` has no `type` | add type = \"paint\""),
        (
            "[steps.a]\ntype = \"pain\"\n".to_owned(),
            "there is no `type` \"pain\" here | did you mean \"paint\"?",
        ),
        (
            "[steps.a]\ntype = 1\n".to_owned(),
            "`steps.a.type` is a number | write a table with `type` = \"paint\", \"wait\"",
        ),
        (wait("dry = true"), "unknown key `dry` in `steps.a` | the keys here are: time, rate"),
        (
            paint(""),
            "`steps.a` has none of `brush_width` and `machine` | add brush_width = 3, or machine",
        ),
        (
            paint("brush_width = 1\nmachine = \"m\""),
            "`steps.a` has both `brush_width` and `machine` | leave one of them out",
        ),
        (
            paint("brush_width = 1\ndry = \"yes\""),
            "`steps.a.dry` is a string | write true without quotes",
        ),
        (paint("brush_width = 1\nspeed = 11"), "`speed` is out of range | write 1 to 10"),
        (
            paint("brush_width = 1\nspeed = -7"),
            "-7 is out of range | write a whole number, or \"off\", from 1 to 10",
        ),
        (
            wait("rate = 5"),
            "5 is a number without a span of time | write \"5/s\" for so many in a second",
        ),
        (
            paint("brush_width = 1").replace("[\"red\"]", "\"red\""),
            "`steps.a.pots` is a string | write [\"red\"]",
        ),
        (
            paint("brush_width = 1").replace("\"red\"", "\"rad\""),
            "\"rad\" is not \"red\" or \"blue\" | did you mean \"red\"?",
        ),
        (
            paint("brush_width = 1").replace("\"red\"", "{ colour = \"red\", fill = 20 }"),
            "20 is not a fraction | write \"20%\" for percent",
        ),
        (
            "[[steps]]\n".to_owned(),
            "`steps` is a list | write [steps.NAME] above each, with a name of your own",
        ),
    ] {
        assert_eq!(read(&text), Err(vec![expected.to_owned()]), "{text}");
    }
}

#[test]
fn the_reference_has_a_page_for_each_type() {
    let pages = pages(&Day::section(), "# Days\n", "days");
    let names: Vec<_> = pages.iter().map(|page| page.name.as_str()).collect();
    assert_eq!(
        names,
        ["", "before", "before/paint", "before/wait", "steps", "steps/paint", "steps/wait"]
    );
    let page = |name: &str| &pages.iter().find(|page| page.name == name).unwrap().text;
    assert!(page("").contains("| `[steps.NAME]` | [days/steps.md](days/steps.md) |"));
    assert!(page("steps").contains("| [`\"wait\"`](steps/wait.md) | Waits. |"));
    let paint = page("steps/paint");
    assert!(paint.contains("# `[steps.NAME]` with `type = \"paint\"`"), "{paint}");
    assert!(paint.contains("Exactly one of `brush_width`, `machine`."), "{paint}");
    assert!(paint.contains("| `dry` | `true` or `false` | `true` |"), "{paint}");
    assert!(paint.contains("### `steps.NAME.pots[]`") || paint.contains("## `steps.NAME.pots[]`"));
    assert!(paint.contains("number from 0 to 1 or percentage | `\"100%\"`"), "{paint}");
}

#[test]
fn the_commented_file_has_each_type() {
    let text = sample(&Day::section(), "");
    for line in [
        "#[steps.paint]\n#type = \"paint\"\n",
        "#type = \"wait\"\n",
        "#dry = true\n",
        "#speed = \"off\"\n",
        "#rate = \"5/m\"\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_schema_tells_tables_by_their_type() {
    let schema: Json = serde_json::from_str(&schema(&Day::section(), "Days")).unwrap();
    let tables = &schema["properties"]["steps"]["additionalProperties"]["oneOf"];
    let tags =
        [&tables[0]["properties"]["type"]["const"], &tables[1]["properties"]["type"]["const"]];
    assert_eq!(tags, ["paint", "wait"]);
    assert_eq!(tables[0]["required"], serde_json::json!(["pots", "type"]));
    let choice = &tables[0]["allOf"][0]["oneOf"];
    assert_eq!(choice[1]["required"], serde_json::json!(["machine"]));
    assert_eq!(tables[0]["properties"]["dry"]["anyOf"][0]["type"], "boolean");
}
