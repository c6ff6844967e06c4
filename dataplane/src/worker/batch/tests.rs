//! Joined answers beside those that each request gets on its own.

use std::time::Duration;

use super::{Batching, Joined, compatible, in_pieces, rows};
use crate::{
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse, RequestedOutput},
    model::{ModelMetadata, SyncModel, TensorMetadata},
    parameters::Parameter,
    tensor::{BytesData, Data, Datatype, Tensor},
};

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound).unwrap()
    }

    fn data(&mut self, datatype: Datatype, count: usize) -> Data {
        match datatype {
            Datatype::Bytes => (0..count).map(|_| "x".repeat(self.below(4))).collect::<BytesData>().into(),
            Datatype::Int64 => (0..count).map(|_| i64::try_from(self.below(1000)).unwrap()).collect::<Vec<_>>().into(),
            _ => (0..count).map(|_| f32::from(u16::try_from(self.below(1000)).unwrap())).collect::<Vec<_>>().into(),
        }
    }

    fn tensor(&mut self, name: &str, datatype: Datatype, rows: usize) -> Tensor {
        let shape = match self.below(16) {
            0 => vec![rows],
            1 => vec![rows, 1, 3],
            _ => vec![rows, 2],
        };
        let count = shape.iter().product();
        Tensor::new(name, shape, self.data(datatype, count)).unwrap()
    }

    /// Most are of one kind; some differ in an input, a datatype, a shape, a parameter, or in rows among their own inputs.
    fn request(&mut self) -> InferRequest {
        let rows = self.below(4);
        let number = match self.below(8) {
            0 => Datatype::Int64,
            _ => Datatype::Fp32,
        };
        let mut inputs = vec![self.tensor("a", number, rows)];
        if self.below(8) > 0 {
            let rows = if self.below(8) == 0 { rows + 1 } else { rows };
            inputs.insert(self.below(2), self.tensor("b", Datatype::Bytes, rows));
        }
        let mut request = InferRequest { id: Some(self.below(1000).to_string()), ..InferRequest::of(inputs) };
        if self.below(8) == 0 {
            request.parameters.insert("temperature".to_owned(), Parameter::Bool(self.below(2) == 0));
        }
        if self.below(2) == 0 {
            request.outputs.push(RequestedOutput::named("a"));
        }
        request
    }

    fn requests(&mut self) -> Vec<InferRequest> {
        (0..=self.below(12)).map(|_| self.request()).collect()
    }
}

/// A model by its function, and how often it ran.
struct Toy {
    runs: usize,
    infer: fn(&InferRequest) -> Result<InferResponse>,
}

impl SyncModel for Toy {
    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        self.runs += 1;
        let mut response = (self.infer)(&request)?;
        // The handler core sets it; here it tells answers apart.
        response.id = request.id;
        Ok(response)
    }
}

fn joined(infer: fn(&InferRequest) -> Result<InferResponse>) -> Joined<Toy> {
    Joined::copies(vec![Toy { runs: 0, infer }]).remove(0)
}

/// Gives back what it got.
fn identity(request: &InferRequest) -> Result<InferResponse> {
    let mut response = InferResponse::of(request.inputs.clone());
    response.outputs.sort_by(|one, other| one.name().cmp(other.name()));
    response.parameters = request.parameters.clone();
    Ok(response)
}

/// Adds up each row of `a`; wants as many rows of `b`, as a model does that pairs them.
fn row_sums(request: &InferRequest) -> Result<InferResponse> {
    let a = request.required("a")?;
    let count = a.shape()[0];
    if let Some(b) = request.input("b").filter(|b| b.shape()[0] != count) {
        return Err(Error::invalid(format!("{count} rows of `a`, {} of `b`", b.shape()[0])));
    }
    let a = a.as_f32().ok_or_else(|| Error::invalid("`a`: expected FP32"))?;
    let width = a.len().checked_div(count).unwrap_or(1);
    let sums = a.chunks(width).map(|row| row.iter().sum()).collect::<Vec<f32>>();
    Ok(InferResponse::of(vec![Tensor::vector("sum", sums)]))
}

/// Fails for everybody where one row is a multiple of 7, as one bad row fails a whole tensor.
fn picky(request: &InferRequest) -> Result<InferResponse> {
    let bad = |element: &f32| *element % 7.0 == 0.0;
    match request.required("a")?.as_f32().is_some_and(|a| a.iter().any(bad)) {
        true => Err(Error::invalid("a multiple of 7")),
        false => row_sums(request),
    }
}

/// The largest of all rows: one row, however many there were.
fn largest(request: &InferRequest) -> Result<InferResponse> {
    let a = request.required("a")?.as_f32().unwrap_or_default();
    Ok(InferResponse::of(vec![Tensor::vector("max", vec![a.iter().copied().fold(0.0_f32, f32::max)])]))
}

type Comparable = Result<InferResponse, (Kind, String)>;

fn comparable(answers: impl IntoIterator<Item = Result<InferResponse>>) -> Vec<Comparable> {
    answers.into_iter().map(|answer| answer.map_err(|error| (error.kind(), error.message().to_owned()))).collect()
}

fn column(name: &str, values: &[f32]) -> InferRequest {
    InferRequest::of(vec![Tensor::column(name, values.to_vec())])
}

fn sums(answers: Vec<Result<InferResponse>>) -> Vec<Option<Vec<f32>>> {
    answers.into_iter().map(|answer| Some(answer.ok()?.f32s("sum")?.to_vec())).collect()
}

#[test]
fn everybody_gets_what_they_would_get_alone() {
    for (infer, joins) in [(identity as fn(&_) -> _, true), (row_sums, true), (picky, false), (largest, false)] {
        let (mut asked, mut runs) = (0, 0);
        for seed in 1..=2000 {
            let requests = Random(seed * 0x9e37_79b9).requests();
            let expected = comparable(requests.iter().map(|request| {
                let mut response = infer(request)?;
                response.id.clone_from(&request.id);
                Ok(response)
            }));
            let mut model = joined(infer);
            asked += requests.len();
            assert_eq!(comparable(model.infer_batch(requests.clone())), expected, "seed {seed}: {requests:?}");
            runs += model.model.runs;
        }
        assert!(!joins || runs < asked * 4 / 5, "{runs} runs for {asked} requests");
    }
}

#[test]
fn compatible_requests_are_one_run_whatever_the_order_of_their_inputs() {
    let mut model = joined(identity);
    let (a, b) = (Tensor::column("a", vec![1.0_f32, 2.0]), Tensor::column("b", vec![7_i64, 8]));
    let (more_a, more_b) = (Tensor::column("a", vec![3.0_f32]), Tensor::column("b", vec![9_i64]));
    let answers = model.infer_batch(vec![
        InferRequest::of(vec![a.clone(), b.clone()]),
        InferRequest::of(vec![more_b.clone(), more_a.clone()]),
    ]);
    assert_eq!(model.model.runs, 1);
    let outputs: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().outputs).collect();
    assert_eq!(outputs, [[a, b], [more_a, more_b]]);
}

#[test]
fn rows_that_would_shift_into_anothers_are_not_joined() {
    // Joined, they would be five rows of each: two wrong requests would make a right one.
    let request =
        |a: &[f32], b: &[i64]| InferRequest::of(vec![Tensor::column("a", a.to_vec()), Tensor::column("b", b.to_vec())]);
    let wrong = vec![request(&[1.0, 2.0], &[1, 2, 3]), request(&[1.0, 2.0, 3.0], &[1, 2])];
    assert!(wrong.iter().all(|request| rows(request).is_none()));
    let answers = joined(row_sums).infer_batch(wrong);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
}

#[test]
fn only_the_culprit_gets_the_error() {
    let mut model = joined(picky);
    let answers = model.infer_batch(vec![column("a", &[1.0, 2.0]), column("a", &[14.0]), column("a", &[3.0])]);
    assert_eq!(answers[1].as_ref().unwrap_err().message(), "a multiple of 7");
    assert_eq!(sums(answers), [Some(vec![1.0, 2.0]), None, Some(vec![3.0])]);
}

#[test]
fn only_the_culprit_gets_the_panic() {
    let mut model = joined(|request| {
        assert!(picky(request).is_ok(), "a multiple of 7");
        row_sums(request)
    });
    let answers = model.infer_batch(vec![column("a", &[1.0]), column("a", &[14.0])]);
    assert_eq!(answers[1].as_ref().unwrap_err().detail(), Some("a worker panicked: a multiple of 7"));
    assert_eq!(sums(answers), [Some(vec![1.0]), None]);
}

#[test]
fn one_by_one_too_a_panic_is_its_own() {
    let infer: fn(&InferRequest) -> _ = |request| {
        assert!(picky(request).is_ok(), "a multiple of 7");
        row_sums(request)
    };
    let answers = Toy { runs: 0, infer }.infer_batch(vec![column("a", &[14.0]), column("a", &[1.0])]);
    assert_eq!(sums(answers), [None, Some(vec![1.0])]);
}

#[test]
fn a_model_that_mixes_rows_is_not_batched_again_nor_are_its_copies() {
    let toy = || Toy { runs: 0, infer: largest };
    let mut copies = Joined::copies(vec![toy(), toy()]);
    let batch = || vec![column("a", &[1.0, 2.0]), column("a", &[3.0])];
    for (copy, runs) in [(0, 3), (0, 5), (1, 2)] {
        let answers = copies[copy].infer_batch(batch());
        let largest: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().f32s("max").unwrap().to_vec()).collect();
        assert_eq!((largest, copies[copy].model.runs), (vec![vec![2.0], vec![3.0]], runs));
    }
}

#[test]
fn what_differs_in_more_than_its_rows_is_not_compatible() {
    let one = column("a", &[1.0]);
    assert!(compatible(&one, &column("a", &[1.0, 2.0])));
    let parameters = [("p".to_owned(), Parameter::Int64(1))].into_iter().collect();
    let others = [
        column("b", &[1.0]),
        InferRequest::of(vec![Tensor::column("a", vec![1_i64])]),
        InferRequest::of(vec![Tensor::vector("a", vec![1.0_f32])]),
        InferRequest::of(vec![Tensor::column("a", vec![1.0_f32]), Tensor::column("b", vec![1.0_f32])]),
        InferRequest { parameters, ..column("a", &[1.0]) },
        InferRequest { model_version: Some("2".to_owned()), ..column("a", &[1.0]) },
    ];
    for other in others {
        assert!(!compatible(&one, &other) && !compatible(&other, &one), "{other:?}");
    }
}

#[test]
fn without_rows_or_with_a_name_twice_nothing_is_joined() {
    let scalar = Tensor::new("a", vec![], vec![1.0_f32]).unwrap();
    let a = Tensor::column("a", vec![1.0_f32]);
    for inputs in [vec![], vec![scalar], vec![Tensor::column("a", Vec::<f32>::new())], vec![a.clone(), a]] {
        assert_eq!(rows(&InferRequest::of(inputs.clone())), None, "{inputs:?}");
    }
    assert_eq!(rows(&column("a", &[1.0, 2.0])), Some(2));
}

#[test]
fn a_model_with_a_fixed_first_dimension_is_not_batched() {
    let batching = Batching { max_rows: 8, max_delay: Duration::ZERO };
    let metadata = |shape: &[i64]| {
        let tensor = |name: &str, shape| TensorMetadata::new(name, Datatype::Fp32, shape);
        ModelMetadata { inputs: vec![tensor("a", &[-1, 1]), tensor("b", shape)], ..ModelMetadata::default() }
    };
    assert_eq!(batching.of_model(&ModelMetadata::default()), batching);
    assert_eq!(batching.of_model(&metadata(&[-1])), batching);
    for fixed in [&[1][..], &[4, -1], &[]] {
        assert_eq!(batching.of_model(&metadata(fixed)), Batching::OFF, "{fixed:?}");
        let outputs = ModelMetadata { outputs: metadata(fixed).inputs, ..ModelMetadata::default() };
        assert_eq!(batching.of_model(&outputs), Batching::OFF, "{fixed:?}");
    }
}

/// Doubles `x` and gives back `s`; refuses what is more than 3 rows, or has a negative number, which it names by its row.
fn doubled(request: &InferRequest, seen: &mut Vec<usize>) -> Result<InferResponse> {
    let x = request.input("x").and_then(Tensor::as_f32).unwrap();
    seen.push(x.len());
    if let Some(row) = x.iter().position(|x| *x < 0.0) {
        return Err(Error::invalid(format!("row {row}")));
    }
    let doubled: Vec<_> = x.iter().map(|x| 2.0 * x).collect();
    let s = request.input("s").unwrap().data().clone();
    Ok(InferResponse::of(vec![Tensor::column("y", doubled), Tensor::vector("s", s)]))
}

fn of_rows(x: &[f32]) -> InferRequest {
    let s: BytesData = x.iter().map(|x| x.to_string()).collect();
    InferRequest::of(vec![Tensor::column("x", x.to_vec()), Tensor::vector("s", s)])
}

#[test]
fn what_is_computed_in_pieces_is_answered_as_a_whole() {
    for count in 0..=10_u8 {
        let x: Vec<f32> = (0..count).map(f32::from).collect();
        let (mut seen, mut whole) = (Vec::new(), Vec::new());
        let answer = in_pieces(of_rows(&x), 3, |piece| doubled(&piece, &mut seen)).unwrap();
        assert_eq!(answer, doubled(&of_rows(&x), &mut whole).unwrap());
        assert!(seen.iter().all(|rows| *rows <= 3) && seen.iter().sum::<usize>() == x.len(), "{seen:?}");
    }
}

#[test]
fn a_mistake_in_a_piece_is_told_by_its_row_of_the_request() {
    let refused = in_pieces(of_rows(&[1.0, 1.0, 1.0, 1.0, -1.0]), 3, |piece| doubled(&piece, &mut Vec::new()));
    assert_eq!(refused.unwrap_err().message(), "row 4");
}
