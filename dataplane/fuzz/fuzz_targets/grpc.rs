//! gRPC messages of ModelInfer: whatever they are, no fault of the server's.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let frame = [[0].as_slice(), &length, message].concat();
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    dataplane_fuzz::ask("/inference.GRPCInferenceService/ModelInfer", &headers, frame);
});
