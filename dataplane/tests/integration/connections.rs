//! Who may connect, by which protocol, and how long a connection is borne with.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use axum::http::StatusCode;
use http_body_util::BodyExt;
use tempfile::tempdir;

use crate::{
    toy::Process,
    wire::{Http2, ask, connect, ends, get, metric, pause, post, reply, send, soon},
};

const BODY: &str = r#"{"instances": [{"rows": [[1, 2]], "ids": ["x"]}]}"#;
const ANSWER: &str = r#"{"predictions":[{"sums":[3.0],"ids":["x"]}]}"#;
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const PREDICT: &str = "/v1/models/toy:predict";

#[tokio::test]
async fn every_data_listener_speaks_http_1_and_http_2() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("toy.sock");
    let toy = Process::start(&["--uds", socket.to_str().unwrap()]);
    for listener in ["rest", "grpc", "uds"] {
        let mut http1 = connect(&toy, listener).await;
        for _ in 0..2 {
            let answer = ask(&mut http1, &post(PREDICT, BODY)).await.unwrap();
            assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (200, ANSWER, false), "{listener}");
        }
        let mut http2 = Http2::over(connect(&toy, listener).await).await;
        for _ in 0..2 {
            assert_eq!(http2.ask(PREDICT, BODY).await, (StatusCode::OK, ANSWER.to_owned()), "{listener}");
        }
    }
}

#[tokio::test]
async fn connections_are_counted_by_their_listener() {
    let toy = Process::start(&["--admin-port", "0"]);
    let count = async |listener: &str| {
        metric(&toy, "admin", &format!("server_connections{{listener=\"{listener}\"}}")).await.unwrap_or_default()
    };
    let (rest, _grpc) = (connect(&toy, "rest").await, [connect(&toy, "grpc").await, connect(&toy, "grpc").await]);
    while (count("rest").await, count("grpc").await) != (1.0, 2.0) {
        pause().await;
    }
    drop(rest);
    while (count("rest").await, count("grpc").await) != (0.0, 2.0) {
        pause().await;
    }
}

#[tokio::test]
async fn the_admin_port_answers_health_metrics_and_the_log_level_and_nothing_else() {
    let toy = Process::start(&["--admin-port", "0", "--enable-control"]);
    let mut admin = connect(&toy, "admin").await;
    for path in ["/", "/metrics", "/v2/health/live", "/v2/health/ready", "/v2/logging"] {
        assert_eq!(ask(&mut admin, &get(path)).await.unwrap().status, 200, "{path}");
    }
    let changed = ask(&mut admin, &post("/v2/logging", r#"{"level": "warn"}"#)).await.unwrap();
    assert_eq!((changed.status, changed.body.as_str()), (200, r#"{"level":"warn"}"#));
    for request in [get("/v2"), get("/v2/models/toy"), post(PREDICT, BODY)] {
        let answer = ask(&mut admin, &request).await.unwrap();
        assert_eq!(answer.status, 404, "{request}");
        assert!(answer.body.contains("unknown_route"), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_admin_port_changes_nothing_where_control_calls_are_off() {
    let toy = Process::start(&["--admin-port", "0"]);
    let mut admin = connect(&toy, "admin").await;
    for request in [get("/v2/logging"), post("/v2/logging", r#"{"level": "warn"}"#)] {
        let answer = ask(&mut admin, &request).await.unwrap();
        assert_eq!(answer.status, 403, "{request}");
        assert!(answer.body.contains("control_disabled"), "{}", answer.body);
    }
}

#[tokio::test]
async fn grpc_has_no_listener_where_it_is_switched_off() {
    let toy = Process::start(&["--enable_grpc", "false"]);
    assert_eq!((toy.address("grpc"), toy.address("admin"), toy.address("uds")), (None, None, None));
}

#[test]
fn a_port_that_is_taken_is_named_by_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--grpc-port", "--admin-port"] {
        let (code, line) = Process::refusal(&[flag, &port]);
        assert_eq!(code, Some(64), "{line}");
        assert!(line.starts_with(&format!("{flag}: 127.0.0.1:{port} can't be bound")) && line.lines().count() == 1);
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_is_cut_off() {
    let toy = Process::start(&["--header-read-timeout", "200ms"]);
    for begun in ["GET /v2 HTTP/1.1\r\nx: ", "P"] {
        // Each byte comes well within the time; the head does not.
        let (mut reader, mut writer) = tokio::io::split(connect(&toy, "rest").await);
        let trickle = async {
            use tokio::io::AsyncWriteExt;
            writer.write_all(begun.as_bytes()).await.unwrap();
            while writer.write_all(b"a").await.is_ok() {
                pause().await;
            }
        };
        let cut = async {
            use tokio::io::AsyncReadExt;
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest).await;
            rest
        };
        let rest = soon(async {
            tokio::select! { rest = cut => rest, () = trickle => Vec::new() }
        })
        .await;
        assert_eq!(rest, b"", "{begun}");
    }
    // It is no time for the whole connection, nor for one without a request.
    let mut patient = connect(&toy, "rest").await;
    for _ in 0..3 {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        assert_eq!(ask(&mut patient, &get("/v2")).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let toy = Process::start(&["--keep-alive-timeout", "1s", "--pause", "2s"]);
    let mut silent = connect(&toy, "rest").await;
    ends(&mut silent).await;
    let mut http1 = connect(&toy, "rest").await;
    // One with a request is not: its answer takes longer.
    assert_eq!(ask(&mut http1, &post(PREDICT, BODY)).await.unwrap().body, ANSWER);
    ends(&mut http1).await;
    let mut http2 = Http2::over(connect(&toy, "grpc").await).await;
    assert_eq!(http2.ask(PREDICT, BODY).await, (StatusCode::OK, ANSWER.to_owned()));
    soon(http2.connection).await.unwrap().expect("told to go, by GOAWAY");
}

#[tokio::test]
async fn a_caller_who_takes_nothing_of_its_answer_is_left_and_one_whose_answer_is_silent_is_not() {
    let toy = Process::start(&["--keep-alive-timeout", "300ms"]);
    let mut watching = Http2::over(connect(&toy, "grpc").await).await;
    let mut states = watching.call(WATCH).await.into_body();
    soon(states.frame()).await.unwrap().unwrap();
    // With one byte the answer is the connection's, with none it is still its own. Neither comes to anything.
    for window in [0, 1] {
        let mut stuck = Http2::with_window(connect(&toy, "grpc").await, window).await;
        let watch = stuck.call(WATCH).await;
        let answer = soon(stuck.send(PREDICT, BODY)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let _ = soon(stuck.connection).await.unwrap();
        drop((watch, answer));
    }
    // It has been silent for longer than they were borne with.
    assert_eq!(watching.ask(PREDICT, BODY).await, (StatusCode::OK, ANSWER.to_owned()));
    drop(states);
}

#[tokio::test]
async fn too_many_connections_wait_instead_of_failing() {
    let toy = Process::start(&["--max-connections", "1", "--admin-port", "0"]);
    let mut first = connect(&toy, "rest").await;
    assert_eq!(ask(&mut first, &get("/v2")).await.unwrap().status, 200);
    let (mut second, mut other) = (connect(&toy, "rest").await, connect(&toy, "grpc").await);
    send(&mut second, &post(PREDICT, BODY)).await;
    send(&mut other, &get("/v2")).await;
    for _ in 0..20 {
        let count =
            async |listener| metric(&toy, "admin", &format!("server_connections{{listener={listener:?}}}")).await;
        assert_eq!((count("rest").await, count("grpc").await), (Some(1.0), None));
        pause().await;
    }
    assert_eq!(ask(&mut first, &get("/v2")).await.unwrap().status, 200);
    drop(first);
    // In which order is nobody's business.
    let second = async {
        assert_eq!(reply(&mut second).await.unwrap().body, ANSWER);
        drop(second);
    };
    let other = async {
        assert_eq!(reply(&mut other).await.unwrap().status, 200);
        drop(other);
    };
    tokio::join!(second, other);
}

#[tokio::test]
async fn a_lack_of_file_descriptors_passes() {
    let toy = Process::start_with_descriptors(48, &[]);
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(connect(&toy, "rest").await);
    }
    assert_eq!(toy.until_logged("connections can't be accepted")["listener"], "rest");
    // The first ones were accepted, and are served all the same.
    assert_eq!(ask(&mut streams[0], &get("/v2")).await.unwrap().status, 200);
    drop(streams);
    let mut next = connect(&toy, "rest").await;
    assert_eq!(ask(&mut next, &post(PREDICT, BODY)).await.unwrap().body, ANSWER);
}

#[test]
fn the_unix_socket_is_for_its_group_and_goes_with_the_server() {
    let folder = tempdir().unwrap();
    let socket = folder.path().join("toy.sock");
    // A server that crashed left its socket behind.
    drop(UnixListener::bind(&socket).unwrap());
    let arguments = ["--uds", socket.to_str().unwrap()];
    let toy = Process::start(&arguments);
    assert_eq!(toy.address("uds"), socket.to_str());
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let (code, line) = Process::refusal(&arguments);
    assert_eq!(code, Some(64), "{line}");
    assert!(line.starts_with("--uds: ") && line.contains("somebody listens on it"), "{line}");
    toy.signal("INT");
    assert_eq!(toy.end().0, Some(0));
    assert!(!socket.exists());
}

#[test]
fn a_file_that_is_no_socket_stays_where_it_is() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("notes.txt");
    fs::write(&file, "precious").unwrap();
    let (code, line) = Process::refusal(&["--uds", file.to_str().unwrap()]);
    assert_eq!(code, Some(64), "{line}");
    assert!(line.starts_with("--uds: ") && line.contains("no socket"), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_says_that_the_connection_ends() {
    let toy = Process::start(&[]);
    let mut stream = connect(&toy, "rest").await;
    // As many clients do: the head first, and the body once that is on its way.
    let request = post("/v1/models/nobody:predict", BODY);
    let (head, _) = request.split_once("\r\n\r\n").unwrap();
    let answer = ask(&mut stream, &format!("{head}\r\n\r\n")).await.unwrap();
    assert_eq!((answer.status, answer.closes()), (404, true));
    let mut stream = connect(&toy, "rest").await;
    let answer = ask(&mut stream, &post(PREDICT, "{}")).await.unwrap();
    assert_eq!((answer.status, answer.closes()), (400, false), "its body was read");
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_refused_without_a_body() {
    let toy = Process::start(&[]);
    // No longer than it is read, or the connection would be reset over what was not.
    let too_long = |head: &str| format!("{head}{}", "a".repeat(64 * 1024 - head.len()));
    for (head, status) in [
        ("no HTTP\r\n\r\n".to_owned(), 400),
        (too_long("GET /v2 HTTP/1.1\r\nhost: toy\r\nx: "), 431),
        (too_long("GET /"), 431),
        (format!("GET /v2 HTTP/1.1\r\n{}\r\n", "x: 1\r\n".repeat(101)), 431),
    ] {
        let mut stream = connect(&toy, "rest").await;
        let answer = ask(&mut stream, &head).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str(), answer.closes()), (status, "", true), "{}", &head[..20]);
        ends(&mut stream).await;
    }
    // Over HTTP/2 other requests share it.
    let mut http2 = Http2::over(connect(&toy, "rest").await).await;
    let path = format!("/{}", "a".repeat(16 * 1024));
    assert_eq!(http2.ask(&path, "").await, (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, String::new()));
    assert_eq!(http2.ask(PREDICT, BODY).await, (StatusCode::OK, ANSWER.to_owned()));
}
