//! `grpc.health.v1.Health`, looked up at the moment of asking: nothing has to be told to it.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server};

use super::proto::grpc_inference_service_server::SERVICE_NAME;
use crate::{
    error::{Error, Kind},
    handler::Handler,
};

/// Between two looks of a watch.
const PERIOD: Duration = Duration::from_millis(250);

/// The service over one handler.
#[derive(Clone)]
pub(super) struct Health(pub(super) Arc<Handler>);

impl Health {
    /// The server under `""` and under the inference service's name, a model under its own; nothing of others.
    fn of(&self, service: &str) -> Option<ServingStatus> {
        let checked = match service {
            "" | SERVICE_NAME => self.0.check_ready(),
            model => self.0.check_model_ready(model, None),
        };
        match checked.map_err(|error| error.kind()) {
            Ok(()) => Some(ServingStatus::Serving),
            Err(Kind::UnknownModel) => None,
            Err(_) => Some(ServingStatus::NotServing),
        }
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = self.of(&service).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("no service or model of the name {service} is served here"))
        })?;
        Ok(Response::new(answer(status)))
    }

    /// The state now, and each that follows. It ends when the server leaves, or it would keep the server from leaving.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let (health, told) = (self.clone(), None);
        let states = stream::unfold((health, service, told), async |(health, service, told)| {
            loop {
                let now = health.of(&service).unwrap_or(ServingStatus::ServiceUnknown);
                if told != Some(now) {
                    return Some((Ok(answer(now)), (health, service, Some(now))));
                }
                if health.0.readiness.is_draining() {
                    return None;
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
        Ok(Response::new(Box::pin(states)))
    }
}
