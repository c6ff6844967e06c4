//! The documents, held to what they tell of: tests that they name exist, settings are those of `--help`.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file of tests below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "py") {
            found.push(path);
        }
    }
}

/// What stands between backticks and names a test: `file.rs::test`.
fn tests_named_in(text: &str) -> BTreeSet<(String, String)> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let named = quoted.filter_map(|quoted| quoted.split_once("::"));
    let named = named.filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".py"));
    named.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut files = Vec::new();
    for folder in ["dataplane/src", "dataplane/tests", "transformer", "predictor-gbdt", "predictor-llm", "e2e"] {
        sources(&repository().join(folder), &mut files);
    }
    let mut named = BTreeSet::new();
    for document in fs::read_dir(repository().join("docs")).unwrap() {
        let document = document.unwrap().path();
        if document.extension().is_some_and(|extension| extension == "md") {
            named.extend(tests_named_in(&fs::read_to_string(document).unwrap()));
        }
    }
    assert!(named.len() > 50, "the tables name no tests any more");
    let exists = |(file, test): &&(String, String)| {
        let mut files = files.iter().filter(|path| path.ends_with(file));
        let (rust, python) = (format!("fn {test}("), format!("def {test}("));
        files.any(|path| {
            fs::read_to_string(path).unwrap().lines().any(|line| line.contains(&rust) || line.starts_with(&python))
        })
    };
    let missing: Vec<_> = named.iter().filter(|named| !exists(named)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// A setting as `--help` tells it: flag, variable, default, meaning.
fn settings(help: &str) -> Vec<String> {
    let (_, options) = help.split_once("Options:\n").unwrap();
    let mut rows = Vec::new();
    for option in options.split("\n\n      --").map(|option| option.trim_start().trim_start_matches("--")) {
        let (head, body) = option.split_once('\n').unwrap();
        let flag = head.split([' ', '[']).next().unwrap();
        if head.starts_with("-h") || head.starts_with("-V") {
            continue;
        }
        let body: Vec<_> = body.lines().map(str::trim).collect();
        let meaning = body.iter().take_while(|line| !line.is_empty()).copied().collect::<Vec<_>>().join(" ");
        let values = body.iter().filter_map(|line| Some(line.strip_prefix("- ")?.split_once(':')?.0));
        let values = values.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        let of = |name: &str| {
            let note = body.iter().find_map(|line| line.strip_prefix(name)?.strip_suffix(']'));
            note.map(|note| note.trim_end_matches('=').trim()).filter(|note| !note.is_empty())
        };
        let quoted = |text: Option<&str>| text.map(|text| format!("`{text}`")).unwrap_or_default();
        let meaning = if values.is_empty() { meaning } else { format!("{meaning}: {values}") };
        rows.push(format!("| `--{flag}` | {} | {} | {meaning} |", quoted(of("[env:")), quoted(of("[default:"))));
    }
    rows
}

#[test]
fn the_settings_in_the_manual_are_those_of_help() {
    let of = |program: &str| settings(&read(Path::new(program).join("tests/golden/help.txt")));
    let [transformer, gbdt, llm, storefront] = ["transformer", "predictor-gbdt", "predictor-llm", "storefront"].map(of);
    let shared = transformer.iter().filter(|row| gbdt.contains(row) && llm.contains(row));
    let shared: Vec<_> = shared.cloned().collect();
    let own = |rows: &[String]| rows.iter().filter(|row| !shared.contains(row)).cloned().collect::<Vec<_>>();
    let head = "| flag | environment | default | meaning |\n| --- | --- | --- | --- |";
    let titled = |title: &str, rows: &[String]| format!("{title}\n\n{head}\n{}\n", rows.join("\n"));
    let tables = [
        titled("Every server:", &shared),
        titled("The transformer's own:", &own(&transformer)),
        titled("predictor-gbdt's own:", &own(&gbdt)),
        titled("predictor-llm's own:", &own(&llm)),
        titled("The storefront's, which is none of KServe's servers:", &storefront),
    ];
    let (path, manual) = (repository().join("docs/operations.md"), read("docs/operations.md"));
    let (begin, end) = ("<!-- settings: written by `make golden` -->\n", "<!-- end of settings -->");
    let (before, rest) = manual.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let wanted = format!("{before}{begin}{}{end}{after}", tables.join("\n"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), wanted, "run `make golden` and read the difference");
}
