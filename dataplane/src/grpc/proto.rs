//! The protocol's messages, service and client, as the build makes them from `proto/open_inference_grpc.proto`.

// Written by a generator.
#![allow(clippy::all, clippy::too_many_lines, missing_docs, unreachable_pub)]

tonic::include_proto!("inference");

/// The file's descriptor, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("open_inference_grpc");
