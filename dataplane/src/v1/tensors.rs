//! The V1 form of any model whose inputs and outputs have a row for each instance.
//!
//! An instance is an object of columns, `{"a": 1.5, "b": [1, 2]}`. A model with one input takes its bare value or row too, and one whose
//! inputs are all `[-1]` or `[-1, 1]` a list of their values in order. The instances of a request are one request to the model. A
//! prediction is the bare value or row of the one output, or an object of all of them by name.

use std::fmt;

use serde::{
    Serialize, Serializer,
    de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use super::{Predictions, V1Codec};
use crate::{
    error::{Error, Kind, Result},
    infer::{InferRequest, InferResponse},
    json::{Cursor, ElementJson, List, RangeJson, Raw, append_data, plain, read_raw, shown, take},
    model::{ModelMetadata, TensorMetadata},
    tensor::{Data, Tensor},
};

/// Rows of named tensors.
#[derive(Clone, Copy, Debug, Default)]
pub struct TensorsCodec;

impl V1Codec for TensorsCodec {
    fn decode(&self, instances: &[&RawValue], model: &ModelMetadata) -> Result<Vec<InferRequest>> {
        let mut columns = columns(model)?;
        let mut members = Vec::with_capacity(columns.len());
        for (row, instance) in instances.iter().enumerate() {
            let read = read_instance(row, instance, &mut columns, &mut members);
            read.map_err(|error| error.at(format!("instances[{row}]")))?;
        }
        let given = columns.into_iter().filter(|column| !column.shape.is_empty());
        let tensors: Vec<_> = given.map(Column::into_tensor).collect::<Result<_>>()?;
        if tensors.is_empty() {
            return Err(Error::invalid("instances[0]: expected at least one input"));
        }
        Ok(vec![InferRequest::of(tensors)])
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        for response in responses {
            let rows = |output: &Tensor| output.shape().first().copied();
            let count = response.outputs.first().and_then(rows).unwrap_or_default();
            if let Some(other) = response.outputs.iter().find(|output| rows(output) != Some(count)) {
                let (name, shape) = (other.name(), other.shape());
                return Err(Error::internal(format!(
                    "output `{name}` of shape {shape:?} has no row for each of {count}"
                )));
            }
            for row in 0..count {
                match response.outputs.as_slice() {
                    [output] => predictions.push(&RowJson::of(output, row))?,
                    outputs => predictions.push(&RowsJson { outputs, row })?,
                }
            }
        }
        Ok(())
    }
}

/// One input, as far as instances have filled it.
struct Column<'a> {
    input: &'a TensorMetadata,
    /// Empty until the first instance that has it; then how many rows there are, and the shape of one.
    shape: Vec<usize>,
    data: Data,
}

/// An empty column for each input.
fn columns(model: &ModelMetadata) -> Result<Vec<Column<'_>>> {
    let refused = |what: &str| {
        let name = &model.name;
        Error::new(Kind::Unimplemented, format!("Model with name {name} has no V1 form: {what}. Ask it by V2."))
    };
    if model.inputs.is_empty() {
        return Err(refused("it lists no inputs"));
    }
    let in_rows = |tensor: &&TensorMetadata| tensor.shape.first().is_some_and(|&rows| rows < 0);
    let mut needed = model.inputs.iter().filter(|input| !input.optional).chain(&model.outputs);
    if let Some(TensorMetadata { name, shape, .. }) = needed.find(|tensor| !in_rows(tensor)) {
        return Err(refused(&format!("`{name}` of shape {shape:?} has no row for each instance")));
    }
    // An instance names the inputs that are needed; what stands for all of them is V2's.
    let inputs = model.inputs.iter().filter(|input| in_rows(input) && !input.alternative);
    Ok(inputs.map(|input| Column { input, shape: Vec::new(), data: Data::zeros(input.datatype, 0) }).collect())
}

impl Column<'_> {
    fn is_scalar(&self) -> bool {
        matches!(self.input.shape[..], [_] | [_, 1])
    }

    /// Appends the value of instance number `row`.
    fn push(&mut self, row: usize, value: Option<&RawValue>) -> Result<()> {
        let name = &self.input.name;
        let Some(value) = value else {
            return match (self.input.optional, self.shape.first()) {
                (true, None) => Ok(()),
                _ => Err(Error::invalid(format!("field `{name}`: missing (expected {})", self.expected()))),
            };
        };
        if self.shape.is_empty() {
            if row > 0 {
                return Err(Error::invalid(format!("field `{name}`: expected in all instances or in none")));
            }
            self.shape = std::iter::once(0).chain(row_shape(&self.input.shape[1..], value)).collect();
        }
        self.shape[0] += 1;
        if self.is_scalar() && !(self.shape.len() > 1 && value.get().starts_with('[')) {
            return take(&mut self.data, &mut Cursor::new(value)).map_err(|got| {
                let (expected, got) = (self.expected(), shown(got));
                Error::invalid(format!("field `{name}`: expected {expected}, got {got}"))
            });
        }
        append_data(&self.shape[1..], value, &mut self.data).map_err(|error| error.at(format!("field `{name}`")))
    }

    /// What a value is.
    fn expected(&self) -> String {
        let datatype = self.input.datatype.name();
        if self.is_scalar() { datatype.to_owned() } else { format!("{datatype} {:?}", &self.input.shape[1..]) }
    }

    fn into_tensor(self) -> Result<Tensor> {
        Tensor::new(&self.input.name, self.shape, self.data)
    }
}

/// The shape of a row: as long as `value` is where a dimension is free.
fn row_shape(declared: &[i64], value: &RawValue) -> Vec<usize> {
    let mut here = Some(value);
    let shape = declared.iter().map(|&dimension| match usize::try_from(dimension) {
        Ok(dimension) if declared.iter().all(|&dimension| dimension >= 0) => dimension,
        fixed => {
            let list = here.and_then(|value| read_raw(value, List { item: Raw, most: 1 }).ok());
            let (first, count) = list.map_or((None, 0), |(items, count)| (items.first().copied(), count));
            here = first;
            fixed.unwrap_or(count)
        }
    });
    shape.collect()
}

fn read_instance<'de>(
    row: usize,
    instance: &'de RawValue,
    columns: &mut [Column<'_>],
    members: &mut Vec<Option<&'de RawValue>>,
) -> Result<()> {
    members.clear();
    members.resize(columns.len(), None);
    let mut needed = columns.iter().enumerate().filter(|(_, column)| !column.input.optional);
    match (instance.get().as_bytes().first(), (needed.next(), needed.next())) {
        (Some(b'{'), _) => read_raw(instance, Named { columns, members })
            .map_err(|error| Error::invalid(format!("expected an object of inputs ({})", plain(&error))))?,
        (first, (Some((only, column)), None)) => {
            let listed = first == Some(&b'[') && column.input.shape.len() == 1;
            members[only] = Some(if listed { sole(instance)? } else { instance });
        }
        (Some(b'['), _) if columns.iter().all(Column::is_scalar) => {
            let (values, count) = read_raw(instance, List { item: Raw, most: columns.len() })
                .map_err(|error| Error::invalid(format!("expected a list of values ({})", plain(&error))))?;
            if count > columns.len() {
                let most = columns.len();
                return Err(Error::invalid(format!("expected at most {most} values, one an input, got {count}")));
            }
            let values = values.into_iter().map(|value| Some(value).filter(|value| value.get() != "null"));
            members.iter_mut().zip(values).for_each(|(member, value)| *member = value);
        }
        _ => {
            let names: Vec<_> = columns.iter().map(|column| column.input.name.as_str()).collect();
            let (names, got) = (names.join(", "), shown(instance.get()));
            return Err(Error::invalid(format!("expected an object with {names}, got {got}")));
        }
    }
    columns.iter_mut().zip(members).try_for_each(|(column, value)| column.push(row, *value))
}

/// The one value of a list of one.
fn sole(list: &RawValue) -> Result<&RawValue> {
    match read_raw(list, List { item: Raw, most: 1 }) {
        Ok((values, 1)) => Ok(values[0]),
        _ => Err(Error::invalid(format!("expected one value, got {}", shown(list.get())))),
    }
}

/// The members of an instance by their names, each in its column's place.
struct Named<'m, 'c, 'de> {
    columns: &'m [Column<'c>],
    members: &'m mut Vec<Option<&'de RawValue>>,
}

impl<'de> DeserializeSeed<'de> for Named<'_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = vec![false; self.columns.len()];
        while let Some(position) = map.next_key_seed(Position(self.columns))? {
            if std::mem::replace(&mut seen[position], true) {
                return Err(de::Error::custom(format!("`{}` is given twice", self.columns[position].input.name)));
            }
            self.members[position] = map.next_value()?;
        }
        Ok(())
    }
}

/// Which of the columns a key names.
struct Position<'m, 'c>(&'m [Column<'c>]);

impl<'de> DeserializeSeed<'de> for Position<'_, '_> {
    type Value = usize;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Position<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<usize, E> {
        self.0.iter().position(|column| column.input.name == key).ok_or_else(|| {
            let names: Vec<_> = self.0.iter().map(|column| column.input.name.as_str()).collect();
            E::custom(format!("there is no input `{}`, but {}", shown(key), names.join(", ")))
        })
    }
}

/// One row of a tensor: a value, or lists of them as deep as the rest of its shape.
struct RowJson<'a> {
    data: &'a Data,
    shape: &'a [usize],
    begin: usize,
}

impl<'a> RowJson<'a> {
    fn of(tensor: &'a Tensor, row: usize) -> Self {
        let shape = &tensor.shape()[1..];
        Self { data: tensor.data(), shape, begin: row * shape.iter().product::<usize>() }
    }
}

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { data, begin, .. } = *self;
        match *self.shape {
            [] => ElementJson(data, begin).serialize(serializer),
            [count] => RangeJson(data, begin..begin + count).serialize(serializer),
            [count, ref shape @ ..] => {
                let size: usize = shape.iter().product();
                serializer.collect_seq((0..count).map(|item| RowJson { data, shape, begin: begin + item * size }))
            }
        }
    }
}

/// One row of each output, by name.
struct RowsJson<'a> {
    outputs: &'a [Tensor],
    row: usize,
}

impl Serialize for RowsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.outputs.len()))?;
        for output in self.outputs {
            map.serialize_entry(output.name(), &RowJson::of(output, self.row))?;
        }
        map.end()
    }
}
