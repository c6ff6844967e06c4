//! The settings, as people and charts see them: `--help` is a golden file, and `UPDATE_GOLDEN=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to say no

use std::{env, fs, path::Path, process::Command};

#[test]
fn help_names_every_setting_its_variable_and_its_default() {
    let output = Command::new(env!("CARGO_BIN_EXE_transformer")).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &help).unwrap();
    }
    assert_eq!(help, fs::read_to_string(&golden).unwrap(), "run `make golden` and read the difference");
}

/// The one line with which it refuses to start.
fn refusal(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let needed = ["--store=sqlite:///nowhere/store.db", "--predictor-host=127.0.0.1:9"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_transformer"));
    let output = command.args(needed).args(arguments).env_clear().envs(variables.iter().copied()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(64), 1), "{stderr}");
    stderr.trim_end().to_owned()
}

#[test]
fn a_wrong_setting_ends_the_start_with_one_line_and_64() {
    for (argument, flag) in [
        ("--http_port=x", "--http-port"),
        ("--candidates=0", "--candidates"),
        ("--deadline-ms=0", "--deadline-ms"),
        ("--ranking-model-type=", "--ranking-model-type"),
        ("--predictor-ca=/nowhere/ca.pem", "--predictor-ca"),
    ] {
        let line = refusal(&[argument], &[]);
        assert!(line.contains(flag), "{line}");
    }
}

#[test]
fn a_wrong_ranker_is_named_with_what_is_wrong_with_it() {
    let twice = "--ranker: `a` is given twice; each needs a name of its own";
    let taken = "--ranker: `ranking` is the name of the predictor's ranking; each needs a name of its own";
    assert_eq!(refusal(&["--ranker=a=http://a", "--ranker", "a=http://b"], &[]), twice);
    assert_eq!(refusal(&[], &[("HEMLINE_RANKERS", "a=http://a;a=http://b")]), twice);
    assert_eq!(refusal(&["--ranker=ranking=http://a"], &[]), taken);
    let line = refusal(&["--ranker=a=http://a,protocol=smtp"], &[]);
    assert!(line.contains("--ranker") && line.contains("protocol `smtp`: expected v1, v2 or grpc-v2"), "{line}");
}

#[test]
fn the_rankers_of_a_command_line_are_all_heard() {
    // The store is looked for after the settings were found to be good.
    let line = refusal(&["--ranker=a=http://a,model=m", "--ranker", "b=https://b,protocol=v1"], &[]);
    assert!(!line.contains("--ranker"), "{line}");
    let line = refusal(&["--ranker=a=http://a", "--ranker=b=b", "--ranker=a=c"], &[]);
    assert!(line.contains("`a` is given twice"), "{line}");
}
