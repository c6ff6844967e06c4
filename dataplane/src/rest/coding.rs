//! Content codings: gzip and deflate (which is zlib's format), both ways.

use std::io::{self, Read, Write};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use flate2::{
    Compression, Decompress, FlushDecompress, Status,
    bufread::GzDecoder,
    write::{GzEncoder, ZlibEncoder},
};
use http_body_util::BodyExt;

use super::body::too_large;
use crate::error::{Error, Kind, Result};

/// Answers smaller than this are not worth compressing: they fit into one packet.
const LEAST: u64 = 1024;

/// Bytes between two looks at whether others want this thread: a fraction of a millisecond of work.
const STEP: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// What a request's body is in; nothing where it is as it is.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let name = value.to_str().unwrap_or("unreadable").trim().to_ascii_lowercase();
        match name.as_str() {
            _ if values.next().is_some() => Err(unsupported("more than one")),
            "" | "identity" => Ok(None),
            name => Self::from_name(name).map(Some).ok_or_else(|| unsupported(name)),
        }
    }

    /// What an answer may be in: the one of the highest quality, gzip where two are as good.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        if !headers.contains_key(header::ACCEPT_ENCODING) {
            return None;
        }
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let (mut gzip, mut deflate, mut identity, mut any) = (None, None, None, None);
        for choice in values.flat_map(|value| value.split(',')) {
            let mut parts = choice.split(';').map(str::trim);
            let place = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => &mut gzip,
                "deflate" => &mut deflate,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            *place = Some(quality.map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0)));
        }
        let quality = |own: Option<f32>| own.or(any).unwrap_or(0.0);
        let (gzip, deflate) = (quality(gzip), quality(deflate));
        let (best, coding) = if deflate > gzip { (deflate, Self::Deflate) } else { (gzip, Self::Gzip) };
        (best > 0.0 && identity.is_none_or(|identity| best >= identity)).then_some(coding)
    }

    fn from_name(name: &str) -> Option<Self> {
        match name {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// What `body` was before it was compressed; it never takes more room than `limit` and a little.
    ///
    /// # Errors
    /// It is none such, or it would be larger than `limit`.
    pub(super) async fn decompress(self, body: &[u8], limit: usize) -> Result<Bytes> {
        let plain = match self {
            Self::Gzip => gunzip(body, limit).await,
            Self::Deflate => inflate(body, limit).await,
        };
        match plain {
            Ok(plain) if plain.len() > limit => Err(too_large(limit)),
            Ok(plain) => Ok(plain.into()),
            Err(error) => {
                let text = format!("the body is no {}, as its Content-Encoding says", self.name());
                Err(Error::malformed(text).with_detail(error))
            }
        }
    }

    async fn compress(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let room = Vec::with_capacity(body.len() / 4);
        match self {
            Self::Gzip => write(GzEncoder::new(room, Compression::fast()), body).await?.finish(),
            Self::Deflate => write(ZlibEncoder::new(room, Compression::fast()), body).await?.finish(),
        }
    }
}

fn unsupported(name: &str) -> Error {
    let text = format!("content encoding `{name}`: expected gzip, deflate or identity");
    Error::new(Kind::UnsupportedMediaType, text)
}

/// The most members of a gzip body. Those without content are a few bytes each, and each costs a start.
const MAX_MEMBERS: usize = 1024;

/// Reads to the end, or a little past `limit`. Member by member: the reader of all of them goes past empty ones without a pause.
async fn gunzip(body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let (mut rest, mut plain) = (body, Vec::new());
    for _ in 0..MAX_MEMBERS {
        let mut member = GzDecoder::new(rest);
        while member.by_ref().take(STEP as u64).read_to_end(&mut plain)? > 0 && plain.len() <= limit {
            tokio::task::yield_now().await;
        }
        rest = member.into_inner();
        if rest.is_empty() || plain.len() > limit {
            return Ok(plain);
        }
    }
    Err(io::Error::other("more than 1024 members"))
}

/// As [`gunzip`]. By hand, for the crate's reader takes a stream that is cut off for one that ended.
async fn inflate(body: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let (mut state, mut rest, mut plain) = (Decompress::new(true), body, Vec::new());
    while plain.len() <= limit {
        plain.reserve(STEP);
        let before = (rest.len(), plain.len());
        let taken = state.total_in();
        let status = state.decompress_vec(rest, &mut plain, FlushDecompress::None)?;
        rest = &rest[usize::try_from(state.total_in() - taken).unwrap_or(rest.len())..];
        match status {
            Status::StreamEnd if rest.is_empty() => break,
            Status::StreamEnd => return Err(io::Error::other("more follows its end")),
            _ if (rest.len(), plain.len()) == before => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => tokio::task::yield_now().await,
        }
    }
    Ok(plain)
}

async fn write<W: Write>(mut writer: W, body: &[u8]) -> io::Result<W> {
    for step in body.chunks(STEP) {
        writer.write_all(step)?;
        tokio::task::yield_now().await;
    }
    Ok(writer)
}

/// Compresses an answer that is worth it, where the caller accepts it.
pub(super) async fn compress(accepted: Option<Coding>, response: Response) -> Response {
    // Whole bodies only: what streams is not held back.
    let worth = response.body().size_hint().exact().is_some_and(|size| size >= LEAST);
    if !worth || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(coding) = accepted else { return Response::from_parts(head, body) };
    let compressed = match body.collect().await {
        // In a box, for it is large and seldom needed.
        Ok(body) => Box::pin(coding.compress(&body.to_bytes())).await.map_err(Error::internal),
        Err(error) => Err(Error::internal(error)),
    };
    match compressed {
        Ok(body) => {
            head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            Response::from_parts(head, Body::from(body))
        }
        Err(error) => axum::response::IntoResponse::into_response(error),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::Coding;

    fn accepted(value: &'static str) -> Option<Coding> {
        Coding::accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
    }

    #[test]
    fn an_answer_is_in_what_the_caller_likes_best() {
        for (value, coding) in [
            ("gzip", Some(Coding::Gzip)),
            ("deflate, gzip;q=0.5", Some(Coding::Deflate)),
            ("deflate, gzip", Some(Coding::Gzip)),
            ("br, GZIP;q=0.1", Some(Coding::Gzip)),
            ("*", Some(Coding::Gzip)),
            ("gzip;q=0, *", Some(Coding::Deflate)),
            ("gzip; q=0.5, identity", None),
            ("gzip;q=0", None),
            ("gzip;q=x", None),
            ("identity, br", None),
            ("", None),
        ] {
            assert_eq!(accepted(value), coding, "{value}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), None);
    }
}
