//! Messages to and from bytes, with a bound that the bytes alone don't give.

use std::{marker::PhantomData, ops::RangeInclusive};

use prost::{
    DecodeError, Message,
    bytes::{Buf, Bytes},
    encoding::{self, DecodeContext, WireType, decode_key, decode_varint},
};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::{
    decode,
    proto::ModelInferRequest,
    quick::{self, Answer},
    status::status,
};
use crate::{
    error::Error,
    json::MAX_TENSORS,
    parameters::{MAX_PARAMETERS, too_many},
};

/// Writes `T` and reads `U`.
pub(super) struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Writer<T>;
    type Decoder = Reader<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Writer(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        Reader(PhantomData)
    }
}

/// Reads and writes inferences.
pub(super) struct InferCodec;

/// An inference as it was read.
pub(super) enum Asked {
    Raw(quick::Raw),
    Message(ModelInferRequest),
}

impl Asked {
    /// The model that is to answer.
    pub(super) fn model(&self) -> &str {
        match self {
            Self::Raw(raw) => &raw.model,
            Self::Message(message) => &message.model_name,
        }
    }

    /// Its version, where one is asked for.
    pub(super) fn version(&self) -> Option<&str> {
        match self {
            Self::Raw(raw) => raw.request.model_version.as_deref(),
            Self::Message(message) => decode::version(&message.model_version),
        }
    }
}

/// Reads an inference.
///
/// # Errors
/// It is no such message.
pub(super) fn asked(mut message: Bytes) -> Result<Asked, Error> {
    if let Some(raw) = quick::read(&message) {
        return Ok(Asked::Raw(raw));
    }
    check_tensors(&message)?;
    read(&mut message).map(Asked::Message)
}

/// The fields of a request that are messages with parameters: its inputs and its outputs.
const TENSORS: RangeInclusive<u32> = 5..=6;

/// Bounds what the tensors of a request take in memory before they take it: their parameters are maps that the generated reader fills.
/// What is no message passes; it is for that reader to say what is wrong.
fn check_tensors(mut message: &[u8]) -> Result<(), Error> {
    while let Some((number, content)) = next_field(&mut message) {
        let mut fields = content.filter(|_| TENSORS.contains(&number)).unwrap_or_default();
        let mut counts = [0_usize; FIELDS];
        while let Some((number, _)) = next_field(&mut fields) {
            if let Some(count) = counts.get_mut(number as usize) {
                *count += 1;
                if *count > MAX_PARAMETERS {
                    return Err(Error::invalid(format!("field `parameters` of a tensor: {}", too_many())));
                }
            }
        }
    }
    Ok(())
}

/// The number of the next field, and its content where that has a length; nothing at the end or where no field is.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, Option<&'a [u8]>)> {
    let (number, wire_type) = decode_key(rest).ok()?;
    if wire_type != WireType::LengthDelimited {
        encoding::skip_field(wire_type, number, rest, DecodeContext::default()).ok()?;
        return Some((number, None));
    }
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (content, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some((number, Some(content)))
}

impl tonic::codec::Codec for InferCodec {
    type Encode = Answer;
    type Decode = Asked;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for InferCodec {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, answer: Answer, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.reserve(answer.encoded_len());
        answer.encode(buf);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, GATHERED)
    }
}

impl Decoder for InferCodec {
    type Item = Asked;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Asked>, Status> {
        asked(buf.copy_to_bytes(buf.remaining())).map(Some).map_err(status)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, GATHERED)
    }
}

/// Room for a small message, of a size that allocators keep at hand. Tonic's own choice is 8 KiB each way, for every call.
const ROOM: usize = 1000;
/// Bytes that are gathered before they are sent: tonic's own choice.
const GATHERED: usize = 32 * 1024;

/// Writes messages.
pub(super) struct Writer<T>(PhantomData<T>);

impl<T: Message> Encoder for Writer<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // The buffer would grow by doubling, and copy what is written each time.
        buf.reserve(message.encoded_len());
        // `encode` would ask for the length again, to see whether there is room.
        message.encode_raw(buf);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, GATHERED)
    }
}

/// Reads messages. One that is none is the caller's mistake, not a fault of ours.
pub(super) struct Reader<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        read(buf).map(Some).map_err(status)
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ROOM, GATHERED)
    }
}

/// Fields with numbers below this are counted; no message here has more.
const FIELDS: usize = 16;

/// Reads one message. An empty tensor is two bytes on the wire and a hundred times that in memory, so that no field may come more often
/// than a request may have tensors.
fn read<U: Message + Default>(buf: &mut impl Buf) -> Result<U, Error> {
    let malformed = |error: DecodeError| Error::malformed(format!("the message can't be read: {error}"));
    let mut message = U::default();
    let mut counts = [0_usize; FIELDS];
    while buf.has_remaining() {
        let (number, wire_type) = decode_key(buf).map_err(malformed)?;
        if let Some(count) = counts.get_mut(number as usize) {
            *count += 1;
            if *count > MAX_TENSORS {
                let text = format!("field number {number} of the message: expected at most {MAX_TENSORS}, got more");
                return Err(Error::invalid(text));
            }
        }
        message.merge_field(number, wire_type, buf, DecodeContext::default()).map_err(malformed)?;
    }
    Ok(message)
}
