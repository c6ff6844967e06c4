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

#[test]
fn a_wrong_setting_ends_the_start_with_one_line_and_64() {
    let output = Command::new(env!("CARGO_BIN_EXE_transformer")).arg("--http_port=x").env_clear().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(64), 1), "{stderr}");
    assert!(stderr.contains("--http-port"), "{stderr}");
}
