//! What is asked, whichever way.

use dataplane::{BytesData, Data, Parameter, Parameters};

#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) version: Option<&'static str>,
    pub(super) id: Option<&'static str>,
    pub(super) parameters: Parameters,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<&'static str>,
    pub(super) headers: Vec<(&'static str, &'static str)>,
}

/// A tensor as a caller says it: its shape may be wrong.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) shape: Vec<i64>,
    pub(super) data: Data,
}

pub(super) fn input(name: &'static str, shape: &[i64], data: impl Into<Data>) -> Input {
    Input { name, shape: shape.to_vec(), data: data.into() }
}

pub(super) fn strings(texts: &[&str]) -> Data {
    Data::Bytes(BytesData::from_iter(texts))
}

/// These inputs, to this model.
pub(super) fn ask(model: &str, inputs: Vec<Input>) -> Ask {
    Ask {
        model: model.to_owned(),
        version: None,
        id: None,
        parameters: Parameters::new(),
        inputs,
        outputs: Vec::new(),
        headers: Vec::new(),
    }
}

/// What `pair` takes, in one row.
pub(super) fn row() -> Vec<Input> {
    vec![input("x", &[1, 2], vec![1.5_f32, -2.0]), input("s", &[1], strings(&["a"]))]
}

impl Ask {
    pub(super) fn with(mut self, name: &str, value: impl Into<Parameter>) -> Self {
        self.parameters.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}
