//! The settings, as people and charts see them: `--help` is a golden file, and `UPDATE_GOLDEN=1` writes it anew.

use std::{env, fs, path::Path, process::Command};

use crate::shop::{Shop, command, write_page};

#[test]
fn help_names_every_setting_its_variable_and_its_default() {
    let output = Command::new(env!("CARGO_BIN_EXE_storefront")).arg("--help").env_clear().output().unwrap();
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
    let web = tempfile::tempdir().unwrap();
    write_page(web.path());
    for (url, argument, expected) in [
        ("localhost:80", "--model-name=m", "--transformer: expected a URL"),
        ("http://user:s3cret@host", "--model-name=m", "--transformer: expected no user"),
        ("http://host", "--web=/nowhere", "--web: /nowhere"),
        ("http://host", "--web=/proc/self/fd", "/proc/self/fd"),
        ("http://host", "--images=/nowhere", "--images: /nowhere"),
        ("http://host", "--image-url=https://host/x.jpg", "--image-url: expected a URL"),
        ("http://host", "--today=yesterday", "--today"),
        ("http://host", "--transformer-timeout=0", "--transformer-timeout"),
        ("http://host", "--model-name=a/b", "--model-name"),
        ("http://host", "--log-level=loud", "--log-level `loud`"),
        ("http://host", "--http-port=x", "--http-port"),
        ("http://host", "--host=203.0.113.1", "--host, --http-port: 203.0.113.1:8090"),
        ("http://host", "--nonsense", "--nonsense"),
    ] {
        let mut command = command(url, web.path());
        let of_harness = ["--web", "--host", "--http-port"].iter().any(|flag| argument.starts_with(flag));
        if of_harness {
            command = Command::new(env!("CARGO_BIN_EXE_storefront"));
            command.env_clear().args(["--transformer", url]);
            command.env("HEMLINE_WEB", web.path());
        }
        let output = command.arg(argument).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), text.lines().count()), (Some(64), 1), "{argument}: {text}");
        assert!(text.contains(expected) && !text.contains("s3cret"), "{argument}: {text}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_storefront")).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--transformer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_says_nothing() {
    let web = tempfile::tempdir().unwrap();
    write_page(web.path());
    let mut command = command("http://host", web.path());
    // It ends at the wrong flag, not at the variables.
    let output = command.env("HEMLINE_IMAGES", "").env("HEMLINE_TODAY", "").arg("--http-port=x").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("--http-port") && !text.contains("HEMLINE_TODAY"), "{text}");
    assert_eq!(Shop::start("http://host", &[]).get("/healthz").await.status, 200);
}
