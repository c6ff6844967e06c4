//! What is served here, as an OpenAPI document.

use std::sync::Arc;

use axum::{
    body::Bytes,
    http::header,
    routing::{MethodRouter, get},
};
use serde_json::Value;

use crate::handler::{Handler, ServerInfo};

/// The document, but for the server's name and version.
const DOCUMENT: &str = include_str!("openapi.json");

/// Answers with the document. It is written once.
pub(super) fn route(server: ServerInfo) -> MethodRouter<Arc<Handler>> {
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    document["info"]["title"] = server.name.into();
    document["info"]["version"] = server.version.into();
    let document = Bytes::from(document.to_string());
    get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::{handler::ServerInfo, rest::routes};

    #[test]
    fn every_route_is_in_the_document_and_no_other() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let documented = document["paths"].as_object().unwrap().keys().map(String::as_str);
        let mut served: BTreeSet<_> =
            routes(ServerInfo { name: "x", version: "1" }).into_iter().map(|(path, _)| path).collect();
        // One segment to the router, three paths to those who call.
        assert!(served.remove("/v1/models/{target}"));
        served.extend(["/v1/models/{model}", "/v1/models/{model}:predict", "/v1/models/{model}:explain"]);
        assert_eq!(documented.collect::<BTreeSet<_>>(), served);
    }
}
