//! The OpenAPI document says what the router does, and nothing else.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use dataplane::Kind;
use serde_json::Value;

use crate::serving::{Server, server};

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

pub(crate) async fn document(server: &Server) -> Value {
    server.get("/openapi.json").await.json()
}

fn paths(document: &Value) -> Vec<(&String, &Value)> {
    document["paths"].as_object().unwrap().iter().collect()
}

/// What a `$ref` stands for.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.strip_prefix('#').unwrap()).expect(reference),
        None => value,
    }
}

/// The operation that answers a request, if the document has it.
pub(crate) fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let fits = |template: &str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len() && template.iter().zip(path).all(|(template, part)| segment_fits(template, part))
    };
    // A path of fixed segments comes before one of names, and `{model}:predict` before `{model}`.
    let mut all = paths(document);
    all.sort_by_key(|(path, _)| (path.matches('{').count(), !path.contains(':')));
    let (_, item) = all.into_iter().find(|(template, _)| fits(template))?;
    item.get(method.to_lowercase())
}

fn segment_fits(template: &str, part: &str) -> bool {
    match template.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
        Some((_, end)) => part.len() > end.len() && part.ends_with(end),
        None => template == part,
    }
}

#[tokio::test]
async fn what_the_document_offers_is_there_and_what_it_does_not_is_405() {
    let server = server();
    let document = document(&server).await;
    for (template, item) in paths(&document) {
        let path = template.replace("{model}", "sum").replace("{version}", "3");
        let offered: BTreeSet<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        for method in METHODS {
            let answer = server.send(Request::builder().method(method).uri(&path).body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status.as_u16() == 405, !offered.contains(method), "{method} {path}: {}", answer.status);
            assert_ne!(answer.status.as_u16(), 404, "{method} {path}");
            if answer.status.as_u16() == 405 {
                let allowed = answer.header("allow").expect("no Allow").split(',').map(str::to_owned);
                let allowed: BTreeSet<_> = allowed.filter(|method| method != "HEAD").collect();
                assert_eq!(allowed, offered, "{method} {path}");
                assert_eq!(answer.failure().1, "method_not_allowed");
            } else {
                let response = &item[method.to_lowercase()]["responses"][answer.status.as_str()];
                assert!(response.is_object(), "{method} {path}: {} is not in the document", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn each_status_has_the_codes_of_the_error_table() {
    let document = document(&server()).await;
    let codes = |kinds: &mut dyn Iterator<Item = Kind>| kinds.map(|kind| kind.row().code).collect::<BTreeSet<_>>();
    let read = |codes: &'_ Value| {
        codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let all = &document["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
    assert!(read(all).iter().map(String::as_str).eq(codes(&mut Kind::ALL.into_iter())));
    let responses = document["components"]["responses"].as_object().unwrap();
    for kind in Kind::ALL {
        let status = kind.row().http;
        let schema = &responses[status.as_str()]["content"]["application/json"]["schema"]["allOf"];
        let expected = codes(&mut Kind::ALL.into_iter().filter(|kind| kind.row().http == status));
        assert!(read(&schema[1]["properties"]["code"]["enum"]).iter().map(String::as_str).eq(expected), "{status}");
    }
    assert_eq!(
        responses.len(),
        Kind::ALL.iter().map(|kind| kind.row().http).collect::<std::collections::HashSet<_>>().len()
    );
}

fn check_references(document: &Value, value: &Value) {
    resolved(document, value);
    match value {
        Value::Object(members) => members.values().for_each(|member| check_references(document, member)),
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_whole_and_says_whose_it_is() {
    let document = document(&server()).await;
    assert_eq!((&document["openapi"], &document["info"]["title"]), (&"3.1.0".into(), &"toys".into()));
    assert_eq!(document["info"]["version"], "1");
    check_references(&document, &document);
    let mut ids = BTreeSet::new();
    for (path, item) in paths(&document) {
        for operation in item.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named = parameters.iter().map(|parameter| resolved(&document, parameter));
            let named: BTreeSet<_> =
                named.filter(|it| it["in"] == "path").map(|it| it["name"].as_str().unwrap()).collect();
            let wanted = path.split('{').skip(1).map(|rest| rest.split_once('}').unwrap().0);
            assert_eq!(named, wanted.collect(), "{path}");
        }
    }
}
