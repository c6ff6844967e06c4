//! Inferences, told by their path alone: a router that has twenty paths to tell apart copies headers and boxes futures, which costs a
//! small request as much as its answer. Names that are escaped, and all other paths, are the router's; its handlers are the same.

use axum::{
    body::Body,
    http::{HeaderMap, Method},
    response::Response,
};

use super::{v1, v2};
use crate::{error::Result, handler::Handler, observe::Inference};

/// Which inference it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// `/v1/models/{target}`
    V1(&'a str),
    /// `/v2/models/{model}[/versions/{version}]/infer`
    V2 { model: &'a str, version: Option<&'a str> },
}

impl<'a> Target<'a> {
    /// What this path names, if it can be told here.
    pub(super) fn of(method: &Method, path: &'a str) -> Option<Self> {
        if *method != Method::POST || path.contains('%') {
            return None;
        }
        let named = |piece: &&str| !piece.is_empty();
        if let Some(target) = path.strip_prefix("/v1/models/") {
            return Some(target).filter(named).filter(|target| !target.contains('/')).map(Self::V1);
        }
        let (model, rest) = path.strip_prefix("/v2/models/")?.split_once('/')?;
        let version = match rest.strip_prefix("versions/") {
            None => (rest == "infer").then_some(None),
            Some(rest) => rest.strip_suffix("/infer").filter(named).filter(|piece| !piece.contains('/')).map(Some),
        };
        Some(Self::V2 { model: Some(model).filter(named)?, version: version? })
    }

    /// The answer.
    pub(super) async fn answer(
        self,
        handler: &Handler,
        inference: &Inference,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response> {
        match self {
            Self::V1(target) => v1::asked(handler, inference, target, headers, body).await,
            Self::V2 { model, version } => v2::inferred(handler, inference, (model, version), headers, body).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::Target;

    #[test]
    fn an_inference_is_told_by_its_path() {
        let of = |path| Target::of(&Method::POST, path);
        assert_eq!(of("/v1/models/m:predict"), Some(Target::V1("m:predict")));
        assert_eq!(of("/v2/models/m/infer"), Some(Target::V2 { model: "m", version: None }));
        assert_eq!(of("/v2/models/m/versions/3/infer"), Some(Target::V2 { model: "m", version: Some("3") }));
        assert_eq!(of("/v2/models/versions/infer"), Some(Target::V2 { model: "versions", version: None }));
    }

    #[test]
    fn everything_else_is_the_routers() {
        assert_eq!(Target::of(&Method::GET, "/v2/models/m/infer"), None);
        for path in [
            "/",
            "/v1/models",
            "/v1/models/",
            "/v1/models/m:predict/",
            "/v1/models/a%2Fb:predict",
            "/v2/models/m",
            "/v2/models//infer",
            "/v2/models/m/infer/",
            "/v2/models/m/ready",
            "/v2/models/m/versions/infer",
            "/v2/models/m/versions//infer",
            "/v2/models/m/versions/3/4/infer",
            "/v2/models/m%20/infer",
        ] {
            assert_eq!(Target::of(&Method::POST, path), None, "{path}");
        }
    }
}
