//! A raw inference straight from its bytes and back to them: a tensor's name, shape and elements go where they end, without the
//! generated messages in between. What is said less often (parameters, typed contents, outputs by name) is for those; so is whatever is
//! wrong with a message.

use prost::{
    Message,
    bytes::{BufMut, Bytes},
    encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint},
};

use super::proto::{ModelInferResponse, model_infer_response::InferOutputTensor};
use crate::{
    infer::InferRequest,
    json::MAX_TENSORS,
    tensor::{Data, Datatype, MAX_RANK, Tensor, element_count},
};

/// A request whose tensors are raw, and the model that is to answer.
#[derive(Debug, PartialEq)]
pub(super) struct Raw {
    pub(super) model: String,
    pub(super) request: InferRequest,
}

/// A tensor without its elements, which are sent behind all tensors.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) datatype: Datatype,
    pub(super) shape: Vec<usize>,
}

/// An answer to be written as a `ModelInferResponse`.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Without raw contents, and without the outputs that are `heads`.
    pub(super) message: ModelInferResponse,
    pub(super) heads: Vec<Head>,
    pub(super) contents: Vec<Bytes>,
}

/// Reads a `ModelInferRequest`; nothing where it has to be read with more care.
pub(super) fn read(message: &Bytes) -> Option<Raw> {
    let (mut model, mut version, mut id) = ("", "", "");
    let (mut heads, mut contents) = (Vec::new(), Vec::new());
    let mut rest = message.as_ref();
    let mut fields = 0;
    while !rest.is_empty() {
        fields += 1;
        match field(&mut rest).filter(|_| fields <= MAX_TENSORS)? {
            (1, value) => model = str::from_utf8(value).ok()?,
            (2, value) => version = str::from_utf8(value).ok()?,
            (3, value) => id = str::from_utf8(value).ok()?,
            (5, value) => heads.push(head(value)?),
            (7, value) => contents.push(value),
            _ => return None,
        }
    }
    if heads.is_empty() || heads.len() != contents.len() {
        return None;
    }
    let tensor = |(Head { name, datatype, shape }, raw): (Head, &[u8])| {
        let data = Data::from_raw(datatype, element_count(&shape)?, message.slice_ref(raw)).ok()?;
        Tensor::new(name, shape, data).ok()
    };
    let inputs = heads.into_iter().zip(contents).map(tensor).collect::<Option<_>>()?;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let request = InferRequest { id: text(id), model_version: text(version), inputs, ..InferRequest::default() };
    Some(Raw { model: model.to_owned(), request })
}

/// The next field's number and its bytes, if it is one of those that have a length before them.
fn field<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&key, behind) = rest.split_first()?;
    *rest = behind;
    // A key of several bytes has a number that no field here has.
    if key & 7 != WireType::LengthDelimited as u8 || key >= 0x80 {
        return None;
    }
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (value, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some((key >> 3, value))
}

/// An `InferInputTensor` without contents.
fn head(mut rest: &[u8]) -> Option<Head> {
    let (mut name, mut datatype, mut shape) = ("", "", Vec::new());
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, value) => name = str::from_utf8(value).ok()?,
            (2, value) => datatype = str::from_utf8(value).ok()?,
            (3, mut packed) => {
                while !packed.is_empty() {
                    let dimension = decode_varint(&mut packed).ok()?.cast_signed();
                    shape.push(usize::try_from(dimension).ok().filter(|_| shape.len() < MAX_RANK)?);
                }
            }
            _ => return None,
        }
    }
    Some(Head { name: name.to_owned(), datatype: Datatype::from_name(datatype)?, shape })
}

impl Head {
    /// A dimension as the protocol has it: signed.
    fn varints(&self) -> impl Iterator<Item = u64> {
        self.shape.iter().map(|&dimension| signed(dimension).cast_unsigned())
    }

    fn shape_len(&self) -> usize {
        self.varints().map(encoded_len_varint).sum()
    }

    fn len(&self) -> usize {
        let sized = |length: usize| if length == 0 { 0 } else { 1 + encoded_len_varint(length as u64) + length };
        sized(self.name.len()) + sized(self.datatype.name().len()) + sized(self.shape_len())
    }

    fn encode(&self, buf: &mut impl BufMut) {
        for (number, text) in [(1, self.name.as_str()), (2, self.datatype.name())] {
            if !text.is_empty() {
                begin(number, text.len(), buf);
                buf.put_slice(text.as_bytes());
            }
        }
        if !self.shape.is_empty() {
            begin(3, self.shape_len(), buf);
            self.varints().for_each(|dimension| encode_varint(dimension, buf));
        }
    }
}

fn signed(dimension: usize) -> i64 {
    i64::try_from(dimension).unwrap_or(i64::MAX)
}

/// Begins a field of so many bytes.
fn begin(number: u32, length: usize, buf: &mut impl BufMut) {
    encode_key(number, WireType::LengthDelimited, buf);
    encode_varint(length as u64, buf);
}

impl Answer {
    pub(super) fn encoded_len(&self) -> usize {
        let sized = |length: usize| 1 + encoded_len_varint(length as u64) + length;
        let heads = self.heads.iter().map(|head| sized(head.len())).sum::<usize>();
        self.message.encoded_len() + heads + self.contents.iter().map(|raw| sized(raw.len())).sum::<usize>()
    }

    /// Writes it as the generated message would be.
    pub(super) fn encode(self, buf: &mut impl BufMut) {
        self.message.encode_raw(buf);
        for head in &self.heads {
            begin(5, head.len(), buf);
            head.encode(buf);
        }
        for raw in &self.contents {
            begin(6, raw.len(), buf);
            buf.put_slice(raw);
        }
    }

    /// The generated message.
    pub(super) fn into_message(self) -> ModelInferResponse {
        let outputs = self.heads.into_iter().map(|Head { name, datatype, shape }| InferOutputTensor {
            name,
            datatype: datatype.name().to_owned(),
            shape: shape.into_iter().map(signed).collect(),
            ..InferOutputTensor::default()
        });
        let mut message = self.message;
        message.outputs.extend(outputs);
        ModelInferResponse { raw_output_contents: self.contents, ..message }
    }
}

#[cfg(test)]
mod tests {
    use prost::{Message, bytes::Bytes};

    use super::{Raw, read};
    use crate::{
        grpc::{
            decode, encode,
            proto::{ModelInferRequest, model_infer_request::InferInputTensor},
        },
        infer::InferResponse,
        parameters::Parameter,
        tensor::{Data, Datatype, Tensor},
    };

    /// What the generated reader makes of it.
    fn careful(message: &Bytes) -> Option<Raw> {
        let message = ModelInferRequest::decode(message.clone()).ok()?;
        let model = message.model_name.clone();
        decode::request(message).ok().map(|(request, _)| Raw { model, request })
    }

    fn request() -> ModelInferRequest {
        let tensors = Datatype::ALL.iter().enumerate().map(|(number, &datatype)| {
            let shape = [vec![], vec![0], vec![2, 3], vec![1, 150, 1]][number % 4].clone();
            let count = shape.iter().product::<i64>().try_into().unwrap();
            let name = ["", "x", "é"][number % 3].to_owned();
            let tensor = InferInputTensor { name, datatype: datatype.name().to_owned(), shape, ..Default::default() };
            (tensor, Data::zeros(datatype, count).into_raw().unwrap())
        });
        let (inputs, raw_input_contents) = tensors.unzip();
        let (model_name, id) = ("m".to_owned(), "x".repeat(200));
        ModelInferRequest { model_name, id, inputs, raw_input_contents, ..ModelInferRequest::default() }
    }

    #[test]
    fn raw_requests_are_read_as_the_generated_reader_reads_them() {
        let whole = Bytes::from(request().encode_to_vec());
        assert_eq!(read(&whole).unwrap(), careful(&whole).unwrap());
        let version = ModelInferRequest { model_version: "3".to_owned(), ..ModelInferRequest::default() };
        // Messages back to back are one, whose later texts stand.
        let merged: Bytes = [version.encode_to_vec(), whole.to_vec(), b"\x0a\x01n".to_vec()].concat().into();
        let read = read(&merged).unwrap();
        assert_eq!((read.model.as_str(), read.request.model_version.as_deref()), ("n", Some("3")));
        assert_eq!(read, careful(&merged).unwrap());
    }

    #[test]
    fn what_is_read_quickly_is_never_read_otherwise_than_with_care() {
        let whole = request().encode_to_vec();
        let (mut quick, mut state) = (0, 1_u64);
        for _ in 0..20_000 {
            // Numbers of xorshift: a message with one byte changed, and cut short half the time.
            for shift in [13, 7, 17] {
                state ^= if shift == 7 { state >> shift } else { state << shift };
            }
            let mut changed = whole.clone();
            let (place, byte) = (state as usize % whole.len(), (state >> 32) as u8);
            changed[place] = byte;
            changed.truncate(if state >> 63 == 0 { whole.len() } else { (state >> 40) as usize % whole.len() });
            let changed = Bytes::from(changed);
            if let Some(read) = read(&changed) {
                quick += 1;
                assert_eq!(Some(read), careful(&changed), "byte {place} is {byte}");
            }
        }
        assert!(quick > 100, "{quick}");
    }

    #[test]
    fn everything_else_is_left_to_the_generated_reader() {
        let one = InferInputTensor { datatype: "INT8".to_owned(), shape: vec![1], ..InferInputTensor::default() };
        let one = ModelInferRequest {
            inputs: vec![one],
            raw_input_contents: vec![Bytes::from_static(b"7")],
            ..ModelInferRequest::default()
        };
        let bytes = one.encode_to_vec();
        assert!(read(&bytes.clone().into()).is_some());
        // Unpacked dimensions, parameters, outputs by name, an unknown field, and a field of the wrong type.
        for more in [&b"\x2a\x04\x18\x01\x12\x00"[..], b"\x22\x00", b"\x32\x00", b"\x7a\x00", b"\x08\x01"] {
            assert_eq!(read(&[&bytes, more].concat().into()), None, "{more:?}");
        }
        assert_eq!(read(&b"\x0a\x00".repeat(2000).into()), None);
    }

    #[test]
    fn answers_are_written_as_the_generated_writer_writes_them() {
        for raw in [false, true] {
            for parameters in [None, Some(("unit".to_owned(), Parameter::from("s")))] {
                let tensors = Datatype::ALL.iter().filter(|datatype| raw || datatype.is_json());
                let outputs = tensors.map(|&datatype| {
                    let tensor = Tensor::new(datatype.name(), vec![2, 1, 75], Data::zeros(datatype, 150)).unwrap();
                    tensor.with_parameters(parameters.clone().into_iter().collect())
                });
                let mut response = InferResponse::of(outputs.chain([Tensor::vector("", vec![0_u8; 0])]).collect());
                response.model_name = "m".to_owned();
                response.parameters.insert("model_digest".to_owned(), "sha256:0".into());
                let answer = || encode::response(response.clone(), raw).unwrap();
                let mut written = Vec::new();
                answer().encode(&mut written);
                assert_eq!(answer().encoded_len(), written.len());
                assert_eq!(written, answer().into_message().encode_to_vec());
            }
        }
    }
}
