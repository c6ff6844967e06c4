//! What is refused, or fails: the same code, and the same place named, whichever way it was asked.

use dataplane::{Kind, worker::Permits};

use super::{
    ask::{ask, input, row, strings},
    flaws::{Flaw, flaws},
    outcome::read,
    server,
    ways::{ALL, V2, Way},
};
use crate::serving::Server;

/// That this flaw is said as it should be, and counted.
async fn holds(server: &Server, flaw: &Flaw, way: Way) {
    let Flaw { what, ask, code, names, same, .. } = flaw;
    let answer = way.send(server, ask).await;
    let Err(refused) = read(way, server, &ask.model, &answer) else { panic!("{what}, {way:?}: it was answered") };
    assert_eq!(&refused.code, code, "{what}, {way:?}: {}", refused.text);
    for name in *names {
        assert!(refused.text.contains(name), "{what}, {way:?}: {} does not say {name}", refused.text);
    }
    // V1 says in which instance it is.
    assert!(!same || [refused.text.as_str()].ends_with(names), "{what}, {way:?}: {}", refused.text);
}

#[tokio::test]
async fn what_is_wrong_is_said_as_every_other_way() {
    let (server, ..) = server();
    for flaw in flaws() {
        for &way in flaw.ways {
            holds(&server, &flaw, way).await;
        }
    }
}

#[tokio::test]
async fn every_kind_of_failure_keeps_its_code_its_text_and_its_time_to_wait() {
    let (server, ..) = server();
    for code in Kind::ALL.map(|kind| kind.row().code) {
        for &way in ALL {
            let answer = way.send(&server, &ask(code, row())).await;
            let refused = read(way, &server, code, &answer).unwrap_err();
            let said = (refused.code.as_str(), refused.text.as_str(), refused.retry_after.as_deref());
            assert_eq!(said, (code, "upstream `r` failed", Some("2")), "{way:?}");
            let protocol = way.protocol();
            let line = format!(r#"inference_requests_total{{code="{code}",model="{code}",protocol="{protocol}"}}"#);
            assert!(server.metric(&line).await.is_some(), "{line}");
        }
    }
}

#[tokio::test]
async fn what_can_not_be_read_is_malformed() {
    let (server, ..) = server();
    for &way in ALL {
        let refused = read(way, &server, "pair", &server.send(way.nonsense("pair")).await).unwrap_err();
        assert_eq!(refused.code, "malformed_body", "{way:?}: {}", refused.text);
    }
}

/// Each instance may become a request of its own; the rows of a tensor are one request.
#[tokio::test]
async fn the_bound_on_instances_is_v1s_and_says_nothing_of_rows() {
    let (mut server, ..) = server();
    server.handler.limits.instances = 2;
    let server = server.again();
    let rows = vec![input("x", &[3, 2], vec![1_f32; 6]), input("s", &[3], strings(&["a", "b", "c"]))];
    let ask = ask("pair", rows);
    for &way in V2 {
        assert!(read(way, &server, "pair", &way.send(&server, &ask).await).is_ok(), "{way:?}");
    }
    let refused = read(Way::V1, &server, "pair", &Way::V1.send(&server, &ask).await).unwrap_err();
    let text = "field `instances`: expected at most 2 instances, got 3";
    assert_eq!((refused.code.as_str(), refused.text.as_str()), ("invalid_argument", text));
}

#[tokio::test]
async fn who_is_one_too_many_is_told_when_to_come_back() {
    let (mut server, ..) = server();
    server.handler.permits = Permits::new(0);
    let server = server.again();
    let mut all = Vec::new();
    for &way in ALL {
        all.push(read(way, &server, "pair", &way.send(&server, &ask("pair", row())).await).unwrap_err());
    }
    assert_eq!((all[0].code.as_str(), all[0].retry_after.as_deref()), ("overloaded", Some("1")));
    assert!(all.iter().all(|refused| *refused == all[0]), "{all:?}");
}

#[tokio::test]
async fn who_leaves_ends_the_work_and_is_counted() {
    let (server, began, dropped) = server();
    for &way in ALL {
        let ask = ask("slow", row());
        tokio::select! {
            answer = way.send(&server, &ask) => panic!("{way:?}: {answer:?}"),
            () = began.notified() => {}
        }
        dropped.notified().await;
        let protocol = way.protocol();
        let line = format!(r#"inference_requests_total{{code="abandoned",model="slow",protocol="{protocol}"}}"#);
        assert!(server.metric(&line).await.is_some(), "{line}");
        assert_eq!(server.handler.permits.taken(), 0);
    }
}
