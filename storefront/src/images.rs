//! Pictures of articles: a folder as H&M's data have it, or a place elsewhere that the page is told of.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    extract::{Path as Segment, State},
    http::header::{CACHE_CONTROL, CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use reqwest::Url;

use crate::{failure::Failure, shop::Shop};

/// What stands for an article in a template.
const ARTICLE: &str = "{article_id}";
/// What stands for the first three digits of it.
const PREFIX: &str = "{prefix}";
const OWN_TEMPLATE: &str = "/images/{article_id}.jpg";
const LONGEST_ID: usize = 20;

/// Where pictures are.
#[derive(Default)]
pub(crate) struct Images {
    folder: Option<PathBuf>,
    template: Option<String>,
    /// Who else than the shop has pictures, as a content security policy names them.
    origin: Option<String>,
}

impl Images {
    /// Those in `folder`, or at `template`; the settings let only one of them be.
    ///
    /// # Errors
    /// The folder is none, or the template names no article or no place: one line that names the flag.
    pub(crate) fn new(folder: Option<PathBuf>, template: Option<&str>) -> Result<Self, String> {
        if let Some(folder) = folder {
            if !folder.is_dir() {
                return Err(format!("--images: {} is no folder", folder.display()));
            }
            return Ok(Self { folder: Some(folder), template: Some(OWN_TEMPLATE.to_owned()), origin: None });
        }
        let Some(template) = template else { return Ok(Self::default()) };
        let origin = origin(template).map_err(|reason| format!("--image-url: {reason}"))?;
        Ok(Self { folder: None, template: Some(template.to_owned()), origin: Some(origin) })
    }

    /// Where the page finds an article's picture; none where there are no pictures.
    pub(crate) fn template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    /// Who else than the shop has pictures.
    pub(crate) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }

    /// The picture's file, if this is a picture's name and there is a folder: nothing else than digits ever becomes part of a path.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let id = name.strip_suffix(".jpg")?;
        let valid = (3..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
        let folder: &Path = self.folder.as_deref().filter(|_| valid)?;
        Some(folder.join(&id[..3]).join(name))
    }
}

/// The origin of the template's URLs, which is the same for each article.
fn origin(template: &str) -> Result<String, &'static str> {
    let expected = "expected a URL such as https://host/images/{prefix}/{article_id}.jpg";
    if !template.contains(ARTICLE) {
        return Err(expected);
    }
    let url = |digits: &str| Url::parse(&template.replace(ARTICLE, digits).replace(PREFIX, &digits[..3]));
    let (Ok(url), Ok(other)) = (url("0123456789"), url("9876543210")) else { return Err(expected) };
    if !matches!(url.scheme(), "http" | "https") || url.origin() != other.origin() {
        return Err(expected);
    }
    Ok(url.origin().ascii_serialization())
}

/// Answers with an article's picture.
pub(crate) async fn image(State(shop): State<Arc<Shop>>, Segment(name): Segment<String>) -> Result<Response, Failure> {
    let missing = || Failure::not_found("picture");
    let file = shop.images.file(&name).ok_or_else(missing)?;
    match tokio::fs::read(&file).await {
        Ok(bytes) => {
            let headers = [(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "public, max-age=86400")];
            Ok((headers, bytes).into_response())
        }
        Err(error) => {
            // Most catalogues lack some pictures.
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, file = %file.display(), "a picture can't be read");
            }
            Err(missing())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Images, origin};

    #[test]
    fn a_picture_is_a_file_of_digits_below_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images::new(Some(folder.path().to_owned()), None).unwrap();
        assert_eq!(images.file("0108775015.jpg"), Some(folder.path().join("010/0108775015.jpg")));
        for wrong in ["", ".jpg", "01.jpg", "../../etc/passwd", "010877501é.jpg", "0108775015.png", "0108775015\0.jpg"]
        {
            assert_eq!(images.file(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_template_has_an_article_in_its_path_and_one_origin() {
        assert_eq!(
            origin("https://cdn.example.com/{prefix}/{article_id}.jpg"),
            Ok("https://cdn.example.com".to_owned())
        );
        assert_eq!(origin("http://127.0.0.1:81/i?of={article_id}"), Ok("http://127.0.0.1:81".to_owned()));
        for wrong in
            ["", "https://host/x.jpg", "/{article_id}.jpg", "https://{prefix}.host/{article_id}", "data:{article_id}"]
        {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
