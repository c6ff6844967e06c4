//! gRPC bodies of ModelInfer: whatever they are, no fault of the server's.
//!
//! The first byte says how the rest is sent: its last bit, whether it is a message in a perfect frame or frames and all; the two bits before
//! it, which compression the call names; and the others, how large the pieces are in which the body comes.
#![no_main]

use axum::http::{HeaderName, HeaderValue, header};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ENCODINGS: [&str; 4] = ["identity", "gzip", "deflate", "zstd"];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&how, rest)) = input.split_first() else { return };
    let encoding = usize::from(how >> 1 & 3);
    let body = if how & 1 == 0 {
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX).to_be_bytes();
        [&[u8::from(encoding > 0)], &length[..], rest].concat()
    } else {
        rest.to_vec()
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
        (header::TE, HeaderValue::from_static("trailers")),
        (ENCODING, HeaderValue::from_static(ENCODINGS[encoding])),
    ];
    let size = match how >> 3 {
        0 => body.len().max(1),
        size => usize::from(size),
    };
    let pieces: Vec<_> = body.chunks(size).map(<[u8]>::to_vec).collect();
    dataplane_fuzz::ask("/inference.GRPCInferenceService/ModelInfer", headers, pieces);
});
