//! Compiles the .proto: messages and service for the crate, and its descriptor for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use protox::prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["open_inference_grpc.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("open_inference_grpc.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_transport(false)
        // What is long stays where it was read to.
        .bytes(".")
        .btree_map(".")
        // Elements go straight to and from the tensors' own vectors.
        .extern_path(".inference.InferTensorContents", "crate::grpc::Contents")
        .codec_path("crate::grpc::codec::Codec")
        .compile_fds(files)?;
    Ok(())
}
