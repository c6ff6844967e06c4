//! The page's own files, read once at the start: a request's path is looked up and never opened.

use std::{collections::HashMap, fs, io, path::Path};

use axum::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

const INDEX: &str = "/index.html";
/// Files with a hash of what is in them in their names.
const HASHED: &str = "/assets/";
/// Most bytes of all files together.
const MOST: u64 = 64 * 1024 * 1024;
/// How files are compressed beside themselves, the best first: encoding, and the ending of the name.
const ENCODINGS: [(&str, &str); 2] = [("br", "br"), ("gzip", "gz")];

/// The files, by the path that asks for them.
#[derive(Default)]
pub(crate) struct Web {
    files: HashMap<String, File>,
}

struct File {
    kind: &'static str,
    cached: &'static str,
    plain: Form,
    compressed: Vec<(&'static str, Form)>,
}

/// A file's bytes as they are sent, and their mark.
struct Form {
    bytes: Bytes,
    etag: String,
}

impl Form {
    fn new(bytes: Vec<u8>) -> Self {
        let mark = Sha256::digest(&bytes);
        let mark: String = mark.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { bytes: bytes.into(), etag: format!("\"{mark}\"") }
    }
}

impl Web {
    /// All files in `folder`.
    ///
    /// # Errors
    /// There is no page in it, or it can't be read; the text names the file.
    pub(crate) fn read(folder: &Path) -> Result<Self, String> {
        let mut all = HashMap::new();
        let mut left = MOST;
        read_folder(folder, "", &mut all, &mut left)?;
        if !all.contains_key(INDEX) {
            return Err(format!("{}: has no index.html; it is built by `npm run build`", folder.display()));
        }
        let is_sibling = |path: &String| {
            ENCODINGS.iter().any(|(_, ending)| {
                path.strip_suffix(ending)
                    .and_then(|path| path.strip_suffix('.'))
                    .is_some_and(|path| all.contains_key(path))
            })
        };
        let names: Vec<_> = all.keys().filter(|path| !is_sibling(path)).cloned().collect();
        let mut files = HashMap::new();
        for path in names {
            let Some(plain) = all.remove(&path) else { continue };
            let sibling =
                |(encoding, ending)| Some((encoding, Form::new(all.get(&format!("{path}.{ending}"))?.clone())));
            let compressed = ENCODINGS.into_iter().filter_map(sibling).collect();
            let file = File { kind: kind(&path), cached: cached(&path), plain: Form::new(plain), compressed };
            files.insert(path, file);
        }
        Ok(Self { files })
    }

    /// The page, whatever it is to show, with the status that says whether there is something.
    pub(crate) fn page(&self, status: StatusCode, headers: &HeaderMap) -> Option<Response> {
        let mut response = self.file(INDEX, headers)?;
        if response.status() == StatusCode::OK {
            *response.status_mut() = status;
        }
        Some(response)
    }

    /// The file at `path`, as the caller takes it: compressed if it can be, and not at all if it is there already.
    pub(crate) fn file(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let file = self.files.get(path)?;
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let best = file.compressed.iter().find(|(encoding, _)| accepts(accepted, encoding));
        let (encoding, form) = best.map_or((None, &file.plain), |(encoding, form)| (Some(*encoding), form));
        let mut said = vec![
            (CONTENT_TYPE, HeaderValue::from_static(file.kind)),
            (CACHE_CONTROL, HeaderValue::from_static(file.cached)),
            (VARY, HeaderValue::from_static("accept-encoding")),
        ];
        said.extend(encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_static(encoding))));
        said.extend(HeaderValue::from_str(&form.etag).ok().map(|etag| (ETAG, etag)));
        let said: HeaderMap = said.into_iter().collect();
        if has_already(headers, &form.etag) {
            return Some((StatusCode::NOT_MODIFIED, said).into_response());
        }
        Some((said, form.bytes.clone()).into_response())
    }
}

/// Reads the files of `folder`, which is at `path`, and of the folders in it.
fn read_folder(folder: &Path, path: &str, all: &mut HashMap<String, Vec<u8>>, left: &mut u64) -> Result<(), String> {
    let failed = |path: &Path, error: io::Error| format!("{}: can't be read: {error}", path.display());
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let entry = entry.map_err(|error| failed(folder, error))?;
        let file = entry.path();
        let name = entry.file_name().into_string().map_err(|_| format!("{}: no name for a URL", file.display()))?;
        let path = format!("{path}/{name}");
        if file.is_dir() {
            read_folder(&file, &path, all, left)?;
            continue;
        }
        if !file.is_file() {
            return Err(format!("{}: is no file", file.display()));
        }
        let size = file.metadata().map_err(|error| failed(&file, error))?.len();
        *left = left.checked_sub(size).ok_or_else(|| format!("{}: more than {MOST} bytes", folder.display()))?;
        all.insert(path, fs::read(&file).map_err(|error| failed(&file, error))?);
    }
    Ok(())
}

/// Whether `accepted` takes an encoding: `br;q=0` does not.
fn accepts(accepted: &str, encoding: &str) -> bool {
    accepted.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(encoding));
        let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0)));
        named && !refused
    })
}

/// Whether the caller has the form with this mark.
fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let told = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    told.split(',').any(|one| one.trim().trim_start_matches("W/") == etag)
}

fn cached(path: &str) -> &'static str {
    if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" }
}

fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map" | "webmanifest") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn an_encoding_is_sent_to_those_who_name_it_and_do_not_refuse_it() {
        assert!(accepts("gzip, deflate, br;q=0.9", "br") && accepts("GZIP", "gzip"));
        assert!(!accepts("gzip, br;q=0", "br") && !accepts("", "gzip") && !accepts("brx", "br"));
        assert!(!accepts("br; q=0.0", "br"));
    }
}
