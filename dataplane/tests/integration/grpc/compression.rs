//! Compressed messages, both ways.

use prost::Message;
use tonic::{Code, codec::CompressionEncoding};
use tonic_prost::ProstCodec;

use super::{
    INFER, echo, exchange, framed, post, refused,
    wire::{InferRequest, InferResponse, floats, raw, tensor, typed},
};

async fn compressed(
    channel: &tonic::transport::Channel,
    encoding: CompressionEncoding,
    request: InferRequest,
) -> Result<tonic::Response<InferResponse>, tonic::Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).send_compressed(encoding).accept_compressed(encoding);
    client.ready().await.unwrap();
    client.unary(tonic::Request::new(request), INFER.parse().unwrap(), ProstCodec::default()).await
}

#[tokio::test]
async fn compressed_requests_are_read_and_answered_in_kind() {
    let (_, channel) = echo().await;
    for (encoding, name) in [(CompressionEncoding::Gzip, "gzip"), (CompressionEncoding::Deflate, "deflate")] {
        let request = typed(vec![floats(&[0.5; 1000])]);
        let answer = compressed(&channel, encoding, request.clone()).await.unwrap();
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), name);
        assert_eq!(answer.into_inner().outputs, request.inputs);
    }
}

/// Whether the one message of an answer to this many floats is compressed.
async fn is_compressed(channel: &tonic::transport::Channel, floats_in: usize, encoding: &str) -> bool {
    let message = typed(vec![floats(&vec![0.5; floats_in])]).encode_to_vec();
    let request = post(INFER).header("grpc-encoding", encoding).header("grpc-accept-encoding", "gzip");
    // The flag of a frame says whether it is compressed, whatever the header does.
    let (_, body, trailers) = exchange(channel, request.body(framed(&message)).unwrap()).await;
    assert_eq!(trailers["grpc-status"], "0");
    body[0] == 1
}

#[tokio::test]
async fn an_answer_is_compressed_where_the_caller_compresses_and_it_is_long() {
    let (_, channel) = echo().await;
    assert!(is_compressed(&channel, 1000, "gzip").await);
    assert!(!is_compressed(&channel, 10, "gzip").await);
    assert!(!is_compressed(&channel, 1000, "identity").await);
}

#[tokio::test]
async fn what_decompresses_to_more_than_the_limit_is_refused() {
    let (_, channel) = echo().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let bomb = raw(vec![tensor("x", "UINT8", &[10_000_000])], vec![vec![0; 10_000_000]]);
        let answer = compressed(&channel, encoding, bomb).await;
        let text = "the message is larger than 65536 bytes";
        refused(answer, Code::ResourceExhausted, "payload_too_large", text);
    }
}

#[tokio::test]
async fn a_call_is_one_message_however_small_the_others_are() {
    let (_, channel) = echo().await;
    let message = framed(&typed(vec![floats(&[0.5])]).encode_to_vec());
    for encoding in ["gzip", "identity"] {
        let request = post(INFER).header("grpc-encoding", encoding).body(message.repeat(2)).unwrap();
        let (headers, _, _) = exchange(&channel, request).await;
        assert_eq!(headers["x-error-code"], "malformed_body", "{encoding}");
        assert_eq!(headers["grpc-message"], "expected%20one%20message,%20got%20more", "{encoding}");
    }
}

#[tokio::test]
async fn an_unknown_compression_is_answered_with_those_that_are_known() {
    let (_, channel) = echo().await;
    let request = post(INFER).header("grpc-encoding", "zstd").body(framed(b"")).unwrap();
    let (headers, _, _) = exchange(&channel, request).await;
    assert_eq!(
        (&headers["grpc-status"], &headers["x-error-code"]),
        (&"12".parse().unwrap(), &"unimplemented".parse().unwrap())
    );
    assert_eq!(headers["grpc-accept-encoding"], "gzip,deflate,identity");
}
