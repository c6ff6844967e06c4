//! Golden files: what goes over the wire, as it was agreed.

use std::{env, fs, path::PathBuf};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The files of a folder below `tests/golden`, by name.
pub(crate) fn all(name: &str) -> Vec<(String, String)> {
    let files = fs::read_dir(folder().join(name)).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap())).collect()
}

/// Compares with `tests/golden/{name}`, or writes it where `UPDATE_GOLDEN=1`.
pub(crate) fn check(name: &str, actual: &str) {
    let path = folder().join(name);
    if env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("tests/golden/{name}: {error}; UPDATE_GOLDEN=1 writes it"));
    assert_eq!(actual, expected, "differs from tests/golden/{name}; if that is meant, UPDATE_GOLDEN=1 writes it anew");
}
