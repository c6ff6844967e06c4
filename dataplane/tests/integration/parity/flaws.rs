//! Every way to ask wrongly, with what is to be said of it.

use super::{
    LIMIT,
    ask::{Ask, Input, ask, input, row, strings},
    ways::{ALL, V2, Way},
};

/// A flaw, who can say it, its code, and what each text names.
pub(super) struct Flaw {
    pub(super) what: &'static str,
    pub(super) ask: Ask,
    pub(super) ways: &'static [Way],
    pub(super) code: &'static str,
    pub(super) names: &'static [&'static str],
    /// Every way says the very same.
    pub(super) same: bool,
}

fn flaw(what: &'static str, ask: Ask, ways: &'static [Way], names: &'static [&'static str]) -> Flaw {
    Flaw { what, ask, ways, code: "invalid_argument", names, same: false }
}

impl Flaw {
    fn code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// The core refuses it, not a transport.
    fn same(self) -> Self {
        Self { same: true, ..self }
    }
}

/// To `pair`, with this for `x`.
fn with_x(x: Input) -> Ask {
    ask("pair", [vec![x], row().split_off(1)].concat())
}

pub(super) fn flaws() -> Vec<Flaw> {
    [of_inputs(), of_requests(), of_models()].into_iter().flatten().collect()
}

fn of_inputs() -> Vec<Flaw> {
    let x = || row().swap_remove(0);
    let none = || input("x", &[0, 2], Vec::<f32>::new());
    vec![
        flaw("an unknown input", ask("pair", [row(), vec![Input { name: "nope", ..x() }]].concat()), ALL, &["`nope`"]),
        flaw("a missing input", ask("pair", vec![x()]), ALL, &["`s`: missing (expected BYTES"]),
        flaw("an input twice", ask("pair", [vec![x()], row()].concat()), ALL, &["`x`", "given twice"]),
        flaw("a wrong datatype", with_x(input("x", &[1, 2], strings(&["1", "2"]))), ALL, &["`x`"]),
        flaw("a wrong shape", with_x(input("x", &[1, 3], vec![1_f32; 3])), ALL, &["`x`"]),
        flaw(
            "a wrong rank",
            with_x(input("x", &[2], vec![1_f32; 2])),
            V2,
            &["input `x`: expected shape [-1, 2], got [2]"],
        )
        .same(),
        flaw(
            "elements of another datatype",
            with_x(input("x", &[1, 2], vec![1_i64, 2])),
            V2,
            &["input `x`: expected FP32, got INT64"],
        )
        .same(),
        flaw("too many elements", with_x(input("x", &[1, 2], vec![1_f32; 3])), V2, &["`x`"]),
        flaw("too few elements", with_x(input("x", &[1, 2], vec![1_f32])), V2, &["`x`"]),
        flaw("no elements", with_x(Input { shape: vec![1, 2], ..none() }), V2, &["`x`"]),
        flaw("a negative dimension", with_x(Input { shape: vec![-1, 2], ..none() }), V2, &["`inputs[0] `x`.shape`"]),
        flaw(
            "too many dimensions",
            with_x(Input { shape: vec![1; 33], ..x() }),
            V2,
            &["field `inputs[0] `x`.shape`: expected at most 32 dimensions, got 33"],
        )
        .same(),
        flaw("more elements than there can be", with_x(Input { shape: vec![i64::MAX; 2], ..none() }), V2, &["`x`"]),
        flaw("nothing", ask("pair", vec![]), ALL, &["expected at least one"]),
    ]
}

fn many_parameters(ask: Ask) -> Ask {
    (0..129).fold(ask, |ask, number| ask.with(&format!("p{number}"), true))
}

fn of_requests() -> Vec<Flaw> {
    let outputs = |outputs| Ask { outputs, ..ask("pair", row()) };
    let rows = LIMIT / 8 + 1;
    let large = input("x", &[i64::try_from(rows).unwrap(), 2], vec![1.5_f32; 2 * rows]);
    let names = &["field `parameters.timeout`: expected whole microseconds, more than 0"];
    vec![
        flaw("an unknown output", outputs(vec!["nope"]), V2, &["output `nope`: model `pair` has no such output"])
            .same(),
        flaw("more parameters than there may be", many_parameters(ask("pair", row())), V2, &["expected at most 128"]),
        flaw("an output twice", outputs(vec!["x", "x"]), V2, &["output `x`: asked for twice"]).same(),
        flaw("no time at all", ask("pair", row()).with("timeout", 0), V2, names).same(),
        flaw("a time that is none", ask("pair", row()).with("timeout", "soon"), V2, names).same(),
        flaw("a body too large", ask("pair", vec![large]), ALL, &[" is larger than 65536 bytes"])
            .code("payload_too_large"),
    ]
}

fn of_models() -> Vec<Flaw> {
    let late = || ask("slow", row());
    let at_last: &'static [&'static str] = &["the request's deadline passed before its answer was ready"];
    vec![
        flaw("an unknown model", ask("nope", row()), ALL, &["Model with name nope does not exist."])
            .code("unknown_model")
            .same(),
        flaw(
            "an unknown version",
            Ask { version: Some("9"), ..ask("pair", row()) },
            V2,
            &["Model with name pair has no version 9; it has 3."],
        )
        .code("unknown_version")
        .same(),
        flaw("a model that is not ready", ask("unready", row()), ALL, &["Model with name unready is not ready."])
            .code("not_ready")
            .same(),
        flaw("a model that fails", ask("faulty", row()), ALL, &["internal error"]).code("internal").same(),
        flaw("a model that panics", ask("panicking", row()), ALL, &["internal error"]).code("internal").same(),
        flaw("a deadline by our header", late().header("x-request-timeout", "20ms"), ALL, at_last)
            .code("deadline_exceeded")
            .same(),
        flaw("a deadline by gRPC's header", late().header("grpc-timeout", "20m"), ALL, at_last)
            .code("deadline_exceeded")
            .same(),
        flaw("a deadline by a parameter", late().with("timeout", 20_000), V2, at_last).code("deadline_exceeded").same(),
    ]
}
