//! A protocol of one's own beside V1, V2 and gRPC: what it has to do itself, and what it gets as all others do.
//!
//! `POST /lines/{model}` takes a line for each row, `id a b`, and answers with a line for each, `id sum`.

use std::{fmt::Write as _, future::pending, sync::Arc};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    routing::post,
};
use dataplane::{
    BytesData, Data, Error, Handler, InferRequest, Inference, Result, Tensor, handler::ServerInfo, metrics::Metrics,
    repository::Repository, rest, serve,
};
use tempfile::tempdir;

use crate::{
    serving::{self, Server, Toy},
    wire,
};

async fn lines(
    State(handler): State<Arc<Handler>>,
    Extension(inference): Extension<Inference>,
    Path(name): Path<String>,
    body: Body,
) -> Result<String> {
    inference.begins("lines", &handler, &name);
    let _permit = handler.admit()?;
    let model = handler.ready_model(&name, None)?;
    let body = rest::read_body(&handler, body, inference.context()).await?;
    let request = decode(&body).ok_or_else(|| Error::malformed("expected lines of an id and two numbers"))?;
    let answer = handler.infer(model.as_ref(), request, inference.context()).await?;
    let mut text = String::new();
    for (id, sum) in
        answer.bytes("id").into_iter().flat_map(BytesData::iter).zip(answer.f32s("sum").into_iter().flatten())
    {
        writeln!(text, "{} {sum}", String::from_utf8_lossy(id)).map_err(Error::internal)?;
    }
    Ok(text)
}

fn decode(body: &[u8]) -> Option<InferRequest> {
    let (mut ids, mut a, mut b) = (Vec::new(), Vec::<f32>::new(), Vec::<f32>::new());
    for line in std::str::from_utf8(body).ok()?.lines() {
        let mut words = line.split_whitespace();
        ids.push(words.next()?);
        a.push(words.next()?.parse().ok()?);
        b.push(words.next()?.parse().ok()?);
    }
    let ids = Data::Bytes(BytesData::from_iter(ids));
    Some(InferRequest::of(vec![Tensor::column("a", a), Tensor::column("b", b), Tensor::column("id", ids)]))
}

fn routes() -> Router<Arc<Handler>> {
    Router::new().route("/lines/{model}", post(lines))
}

fn server() -> Server {
    serving::server().with_routes(routes())
}

async fn counted(server: &Server, model: &str, code: &str) -> Option<f64> {
    server.metric(&format!(r#"inference_requests_total{{code="{code}",model="{model}",protocol="lines"}}"#)).await
}

#[tokio::test]
async fn a_protocol_of_ones_own_is_answered_timed_and_counted_as_the_others_are() {
    let server = server();
    let request = serving::post("/lines/sum").header("x-request-id", "mine");
    let answer = server.send(request.body(Body::from("x 1 10\ny 2.5 20\n")).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "x 11\ny 22.5\n"));
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert!(answer.header("server-timing").unwrap().contains("infer;dur="), "{answer:?}");
    assert_eq!(counted(&server, "sum", "ok").await, Some(1.0));
}

#[tokio::test]
async fn its_failures_are_those_of_the_one_table() {
    let server = server();
    for (model, body, status, code) in [
        ("nobody", "x 1 2", 404, "unknown_model"),
        ("unready", "x 1 2", 503, "not_ready"),
        ("sum", "x 1", 400, "malformed_body"),
        ("failing", "x 1 2", 500, "internal"),
        ("panicking", "x 1 2", 500, "internal"),
        ("full", "x 1 2", 429, "overloaded"),
        ("sum", "x 1 2\n".repeat(64 * 1024).as_str(), 413, "payload_too_large"),
    ] {
        let answer = server.post(&format!("/lines/{model}"), body.to_owned()).await;
        let (got, envelope, _) = answer.failure();
        assert_eq!((got, envelope.as_str()), (status, code), "{model}");
        assert!(answer.header("x-request-id").is_some());
        let model = if model == "nobody" { "" } else { model };
        assert_eq!(counted(&server, model, code).await, Some(1.0), "{model}");
    }
    server.get("/lines/sum").await.refuses(405, "method_not_allowed", "GET is not allowed on /lines/sum");
}

#[tokio::test]
async fn it_is_held_to_the_deadline_whether_body_or_model_is_late() {
    let server = server();
    let late = || serving::post("/lines/slow").header("x-request-timeout", "20ms");
    let endless = Body::from_stream(futures_util::stream::once(pending::<Result<&str>>()));
    for body in [Body::from("x 1 2"), endless] {
        let (status, code, _) = server.send(late().body(body).unwrap()).await.failure();
        assert_eq!((status, code.as_str()), (504, "deadline_exceeded"));
    }
    assert_eq!(counted(&server, "slow", "deadline_exceeded").await, Some(2.0));
}

#[tokio::test]
async fn it_is_one_of_those_under_way_and_its_caller_may_leave() {
    let server = server();
    {
        let mut asked = std::pin::pin!(server.post("/lines/slow", "x 1 2"));
        while server.handler.permits.taken() == 0 {
            assert!(futures_util::poll!(asked.as_mut()).is_pending());
        }
    }
    assert_eq!((server.handler.permits.taken(), counted(&server, "slow", "abandoned").await), (0, Some(1.0)));
}

#[derive(clap::Parser)]
struct Settings {
    #[command(flatten)]
    server: dataplane::config::ServerArgs,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_it_on_its_listeners() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("socket");
    let arguments = ["server", "--host", "127.0.0.1", "--http-port", "0", "--enable-grpc", "false", "--uds"];
    let arguments = arguments.into_iter().chain(socket.to_str()).map(Into::into);
    let Ok(Settings { server }) = dataplane::config::parse(arguments) else { panic!("settings are refused") };
    let repository = Repository::default().with(Arc::new(Toy::new("sum")));
    let info = ServerInfo { name: "lines", version: "1" };
    let handler = Handler::new(info, repository, Metrics::new().unwrap(), &server).unwrap();
    let routes = routes().with_state(Arc::new(handler.clone()));
    tokio::spawn(async move { serve::Server::new(handler, &server).with_routes(routes).run(async {}).await });
    let mut stream = loop {
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(stream) => break stream,
            Err(_) => wire::pause().await,
        }
    };
    let answer = wire::ask(&mut stream, &wire::post("/lines/sum", "x 1 2")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "x 3\n"), "{answer:?}");
}
