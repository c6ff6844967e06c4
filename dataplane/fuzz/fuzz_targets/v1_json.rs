//! V1 bodies, and the headers that make them events or something else: whatever they are, no fault of the server's.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for model in ["typed", "single", "list", "rows"] {
        dataplane_fuzz::ask_with_headers(&format!("/v1/models/{model}:predict"), input);
    }
});
