//! What is answered: the same, bit for bit, whichever way it was asked.

use axum::body::Bytes;
use dataplane::{Data, Datatype, Parameter};

use super::{
    ask::{Ask, ask, input, row, strings},
    outcome::{Answered, Output, read},
    raw, server,
    ways::{ALL, V2, Way},
};

/// What `ask` is answered by a model that gives back what it gets.
fn echoed(ask: &Ask) -> Answered {
    let outputs = ask.inputs.iter().map(|input| Output {
        name: input.name.to_owned(),
        datatype: input.data.datatype().name().to_owned(),
        shape: input.shape.clone(),
        raw: raw(&input.data),
    });
    let mut outputs: Vec<_> = outputs.collect();
    if !ask.outputs.is_empty() {
        let of = |name: &&str| outputs.iter().find(|output| output.name == **name).unwrap().clone();
        outputs = ask.outputs.iter().map(of).collect();
    }
    Answered {
        version: "3".to_owned(),
        digest: "sha256:0123".to_owned(),
        id: ask.id.unwrap_or_default().to_owned(),
        parameters: ask.parameters.clone(),
        outputs,
    }
}

/// Two rows of two elements, the last of them as large as they come.
fn extremes(datatype: Datatype) -> Data {
    match datatype {
        Datatype::Bool => Data::Bool(vec![true, false, false, true]),
        Datatype::Uint8 => Data::Uint8(vec![0, 1, 127, u8::MAX]),
        Datatype::Uint16 => Data::Uint16(vec![0, 1, 256, u16::MAX]),
        Datatype::Uint32 => Data::Uint32(vec![0, 1, 65_536, u32::MAX]),
        Datatype::Uint64 => Data::Uint64(vec![0, 1, (1 << 53) + 1, u64::MAX]),
        Datatype::Int8 => Data::Int8(vec![0, -1, i8::MIN, i8::MAX]),
        Datatype::Int16 => Data::Int16(vec![0, -1, i16::MIN, i16::MAX]),
        Datatype::Int32 => Data::Int32(vec![0, -1, i32::MIN, i32::MAX]),
        Datatype::Int64 => Data::Int64(vec![0, (1 << 53) + 1, i64::MIN, i64::MAX]),
        Datatype::Fp32 => Data::Fp32(vec![0.1, -0.0, f32::MIN_POSITIVE, f32::MAX]),
        Datatype::Fp64 => Data::Fp64(vec![0.1, -0.0, 123_456_789.125, f64::MAX]),
        // 1, -0, the smallest above none, the largest: in FP16's bits, then BF16's.
        Datatype::Fp16 => {
            Data::from_raw(datatype, 4, Bytes::from_static(&[0, 0x3c, 0, 0x80, 1, 0, 0xff, 0x7b])).unwrap()
        }
        Datatype::Bf16 => {
            Data::from_raw(datatype, 4, Bytes::from_static(&[0x80, 0x3f, 0, 0x80, 1, 0, 0x7f, 0x7f])).unwrap()
        }
        Datatype::Bytes => strings(&["", "é", "日本語", "🦀 \"\\\n"]),
    }
}

fn cases() -> Vec<(String, Ask, &'static [Way])> {
    let case = |what: &str, ask: Ask, ways: &'static [Way]| (what.to_owned(), ask, ways);
    let mut cases = vec![
        case("an optional input left out", ask("pair", row()), ALL),
        case("an optional input given", ask("pair", [row(), vec![input("note", &[1], strings(&["ü"]))]].concat()), ALL),
        case(
            "several rows",
            ask(
                "pair",
                vec![
                    input("x", &[3, 2], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.5]),
                    input("s", &[3], strings(&["a", "é", ""])),
                ],
            ),
            ALL,
        ),
        case("no rows", ask("pair", vec![input("x", &[0, 2], Vec::<f32>::new()), input("s", &[0], strings(&[]))]), V2),
        case("one of the outputs", Ask { outputs: vec!["s"], ..ask("pair", row()) }, V2),
        case("outputs in another order", Ask { outputs: vec!["s", "x"], ..ask("pair", row()) }, V2),
        case("inputs in another order", ask("pair", row().into_iter().rev().collect()), V2),
        case("an id and a version", Ask { id: Some("é-1"), version: Some("3"), ..ask("pair", row()) }, V2),
        case(
            "parameters of every kind",
            ask("pair", row())
                .with("a", true)
                .with("b", -3)
                .with("c", Parameter::Uint64(u64::MAX))
                .with("d", Parameter::Double(0.5))
                .with("e", "é"),
            V2,
        ),
        case("time enough", ask("pair", row()).header("x-request-timeout", "600s").header("grpc-timeout", "10M"), ALL),
    ];
    for &datatype in Datatype::ALL {
        // Halves have no typed contents, and no V2 JSON.
        let ways = if datatype.is_json() { ALL } else { &[Way::V1, Way::Binary, Way::Raw] };
        let ask = ask(datatype.name(), vec![input("t", &[2, 2], extremes(datatype))]);
        cases.push(case(datatype.name(), ask, ways));
    }
    cases
}

#[tokio::test]
async fn what_is_asked_one_way_is_answered_as_every_other_way() {
    let (server, ..) = server();
    for (what, ask, ways) in cases() {
        for &way in ways {
            let answer = way.send(&server, &ask).await;
            let answered = read(way, &server, &ask.model, &answer);
            let answered = answered.unwrap_or_else(|refused| panic!("{what}, {way:?}: {refused:?}"));
            assert_eq!(answered, echoed(&ask), "{what}, {way:?}");
        }
    }
}

#[tokio::test]
async fn the_time_that_a_parameter_gives_is_no_concern_of_the_models() {
    let (server, ..) = server();
    for &way in V2 {
        let ask = ask("pair", row()).with("timeout", 600_000_000);
        let answered = read(way, &server, "pair", &way.send(&server, &ask).await).unwrap();
        assert!(answered.parameters.is_empty(), "{way:?}: {answered:?}");
    }
}
