//! The settings, as people and charts see them: `--help` is a golden file, and `UPDATE_GOLDEN=1` writes it anew.

use std::{env, fs, path::Path, process::Command};

use crate::predictor::Predictor;

#[test]
fn help_names_every_setting_its_variable_and_its_default() {
    let output = Command::new(env!("CARGO_BIN_EXE_predictor-llm")).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/help.txt");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &help).unwrap();
    }
    assert_eq!(help, fs::read_to_string(&golden).unwrap(), "run `make golden` and read the difference");
}

#[test]
fn a_wrong_setting_ends_the_start_with_one_line_and_64() {
    let url = "--llm-url=http://localhost:1";
    for (arguments, variables, expected) in [
        (vec![], vec![], "--llm-url"),
        (vec!["--llm-url=localhost"], vec![], "--llm-url: expected a URL"),
        (vec!["--llm-url=http://user:s3cret@host"], vec![], "--llm-url: expected no user"),
        (vec![url, "--temperature=3"], vec![], "--temperature"),
        (vec![url, "--concurrency=0"], vec![], "--concurrency"),
        (vec![url, "--permutations=9"], vec![], "--permutations"),
        (vec![url, "--llm-timeout=0"], vec![], "--llm-timeout"),
        (vec![url, "--strategy=best"], vec![], "--strategy"),
        (vec![url, "--price-input=-1"], vec![], "--price-input"),
        (vec![url, "--log-prompts=2"], vec![], "--log-prompts"),
        (vec![url, "--llm-extra=[1]"], vec![], "--llm-extra: expected a JSON object"),
        (vec![url, "--template=/nowhere.toml"], vec![], "--template: /nowhere.toml"),
        (vec![url, "--llm-api-key-file=/nowhere"], vec![], "--llm-api-key-file: /nowhere"),
        (vec![url, "--llm-api-key-file=/nowhere"], vec![("LLM_API_KEY", "s3cret")], "--llm-api-key"),
        (vec![url], vec![("LLM_API_KEY", "s3cret\u{e9}")], "--llm-api-key"),
        (vec![url, "--http_port=x"], vec![], "--http-port"),
        (vec![url, "--stylist=maybe"], vec![], "--stylist"),
        (vec![url, "--stylist-model=a b"], vec![], "--stylist-model"),
        (vec![url, "--stylist-model=hemline"], vec![], "--stylist-model: expected another name"),
    ] {
        let (code, text) = Predictor::refusal(&arguments, &variables);
        assert_eq!((code, text.lines().count()), (Some(64), 1), "{arguments:?}: {text}");
        assert!(text.contains(expected) && !text.contains("s3cret"), "{arguments:?}: {text}");
    }
}
