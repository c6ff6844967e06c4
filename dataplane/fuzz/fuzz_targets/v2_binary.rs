//! V2 bodies with binary tensors. The first two bytes are the length that the header claims for the JSON; the rest is the body.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((length, body)) = input.split_first_chunk() else { return };
    let length = u16::from_le_bytes(*length).to_string();
    let headers = [("inference-header-content-length", length.as_str())];
    for model in ["any", "typed"] {
        dataplane_fuzz::ask(&format!("/v2/models/{model}/infer"), &headers, body.to_vec());
    }
});
