//! Health of the server and of each model.

use dataplane::repository::Repository;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{echo, listen, refused, toys};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn the_server_serves_when_everything_is_ready() {
    let (handler, channel) = echo().await;
    let mut client = HealthClient::new(channel);
    let latch = handler.readiness.latch("predictor");
    for (open, expected) in [(false, ServingStatus::NotServing), (true, ServingStatus::Serving)] {
        if open {
            latch.open();
        }
        for service in ["", "inference.GRPCInferenceService", "echo"] {
            assert_eq!(client.check(of(service)).await.unwrap().into_inner().status(), expected, "{service} {open}");
        }
    }
}

#[tokio::test]
async fn a_model_is_asked_for_by_its_name() {
    let (_, channel) = toys().await;
    let mut client = HealthClient::new(channel);
    for (model, expected) in [("sum", ServingStatus::Serving), ("unready", ServingStatus::NotServing)] {
        assert_eq!(client.check(of(model)).await.unwrap().into_inner().status(), expected, "{model}");
    }
    let text = "no service or model of the name nope is served here";
    refused(client.check(of("nope")).await, Code::NotFound, "not_found", text);
}

#[tokio::test]
async fn a_watch_tells_each_change_and_ends_with_the_server() {
    let (handler, channel) = echo().await;
    let latch = handler.readiness.latch("predictor");
    latch.open();
    let mut states = HealthClient::new(channel).watch(of("")).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    latch.close();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    latch.open();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    handler.readiness.drain();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(states.message().await.unwrap(), None);
}

#[tokio::test]
async fn a_watch_waits_for_a_model_that_is_not_there_yet() {
    let (mut handler, _) = echo().await;
    let later = Repository::default();
    handler.repository = later.clone();
    let mut states = HealthClient::new(listen(handler).await).watch(of("echo")).await.unwrap().into_inner();
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    drop(later.with(std::sync::Arc::new(super::Echo::new())));
    assert_eq!(states.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
}
