//! V2 JSON bodies, and headers before them: whatever they are, no fault of the server's.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for model in ["any", "typed"] {
        dataplane_fuzz::ask_with_headers(&format!("/v2/models/{model}/infer"), input);
    }
});
