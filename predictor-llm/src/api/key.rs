//! The API's key: shown to nobody but the API.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use reqwest::header::HeaderValue;

/// Time between two looks at a key's file.
const LOOK: Duration = Duration::from_secs(3);

/// A text that no log, error or help shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// As the API is told it.
    ///
    /// # Errors
    /// No header can hold it.
    fn authorization(&self) -> Result<HeaderValue, &'static str> {
        let key = self.0.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("expected a key of visible ASCII");
        }
        let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| "no header can hold it")?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Where the key comes from.
pub(super) enum Key {
    /// There is none.
    None,
    /// It was given.
    Given(Secret, HeaderValue),
    /// It lies in a file, which may be exchanged.
    File(PathBuf, Mutex<Read>),
}

/// A file's key as it was last read.
pub(super) struct Read {
    key: Secret,
    value: HeaderValue,
    changed: Option<SystemTime>,
    looked: Instant,
}

impl Key {
    /// The key that is given, or the one in a file.
    ///
    /// # Errors
    /// It can't be used; one line that names the flag.
    pub(super) fn new(given: Option<&Secret>, file: Option<PathBuf>) -> Result<Self, String> {
        match (given, file) {
            (Some(key), _) => {
                let value = key.authorization().map_err(|reason| format!("--llm-api-key: {reason}"))?;
                Ok(Self::Given(key.clone(), value))
            }
            (None, Some(path)) => {
                let read =
                    Read::new(&path).map_err(|reason| format!("--llm-api-key-file: {}: {reason}", path.display()))?;
                Ok(Self::File(path, Mutex::new(read)))
            }
            (None, None) => Ok(Self::None),
        }
    }

    /// The header's value, where there is a key. A file that is exchanged is read within seconds; one that can't be read changes nothing.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Given(_, value) => Some(value.clone()),
            Self::File(path, read) => {
                let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
                read.refresh(path);
                Some(read.value.clone())
            }
        }
    }

    /// A text without the key, wherever it stands in it.
    pub(super) fn hidden_in(&self, text: &str) -> String {
        let hide = |key: &Secret| text.replace(key.0.trim(), "…");
        match self {
            Self::None => text.to_owned(),
            Self::Given(key, _) => hide(key),
            Self::File(_, read) => hide(&read.lock().unwrap_or_else(PoisonError::into_inner).key),
        }
    }
}

impl Read {
    fn new(path: &Path) -> Result<Self, String> {
        let changed = changed(path);
        let key = Secret(fs::read_to_string(path).map_err(|error| error.to_string())?);
        let value = key.authorization()?;
        Ok(Self { key, value, changed, looked: Instant::now() })
    }

    fn refresh(&mut self, path: &Path) {
        if self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        if changed(path) == self.changed {
            return;
        }
        match Self::new(path) {
            Ok(read) => *self = read,
            Err(reason) => tracing::warn!(file = %path.display(), reason, "the key can't be read; the old one stays"),
        }
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        time::{Instant, SystemTime},
    };

    use super::{Key, LOOK, Secret};

    const SECRET: &str = "sk-s3cret";

    #[test]
    fn nobody_sees_it() {
        let secret = Secret(SECRET.to_owned());
        let value = secret.authorization().unwrap();
        assert_eq!(value, "Bearer sk-s3cret");
        assert!(!format!("{secret:?} {value:?}").contains(SECRET));
        let key = Key::new(Some(&secret), None).unwrap();
        assert_eq!(key.hidden_in("incorrect key sk-s3cret."), "incorrect key ….");
        for wrong in ["", " ", "s3\ncret", "s3crét"] {
            let refusal = Key::new(Some(&Secret(wrong.to_owned())), None).err().unwrap();
            assert!(refusal.starts_with("--llm-api-key") && !refusal.contains("s3"), "{refusal}");
        }
    }

    #[test]
    fn one_in_a_file_is_read_again_when_it_is_exchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(Key::new(None, Some(path.clone())).err().unwrap().starts_with("--llm-api-key-file"));
        fs::write(&path, "one\n").unwrap();
        let key = Key::new(None, Some(path.clone())).unwrap();
        assert_eq!(key.authorization().unwrap(), "Bearer one");
        let look = |text: &str| {
            fs::write(&path, text).unwrap();
            let Key::File(_, read) = &key else { panic!("it is a file's") };
            let mut read = read.lock().unwrap();
            (read.looked, read.changed) = (Instant::now().checked_sub(LOOK).unwrap(), Some(SystemTime::UNIX_EPOCH));
            drop(read);
            key.authorization().unwrap()
        };
        assert_eq!(look("two"), "Bearer two");
        assert_eq!(look(""), "Bearer two", "the old one stays");
    }
}
