//! V2 bodies with binary tensors. The first two bytes are the length that the header claims for the JSON; the rest is the body.
#![no_main]

use axum::http::{HeaderName, HeaderValue};

const LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((length, body)) = input.split_first_chunk() else { return };
    let length = HeaderValue::from(u16::from_le_bytes(*length));
    for model in ["any", "typed"] {
        dataplane_fuzz::ask(&format!("/v2/models/{model}/infer"), [(LENGTH, length.clone())], [body.to_vec()]);
    }
});
