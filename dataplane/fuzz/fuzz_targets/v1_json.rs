//! V1 bodies: whatever they are, no fault of the server's.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    for model in ["any", "typed"] {
        dataplane_fuzz::ask(&format!("/v1/models/{model}:predict"), &[], body.to_vec());
    }
});
