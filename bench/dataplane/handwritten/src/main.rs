//! What a competent person writes by hand for one identity model: routes, derived structs, nothing that a fleet needs.
//!
//! `handwritten HTTP_PORT GRPC_PORT`

use std::{env, error::Error, net::Ipv4Addr};

use axum::{
    Router,
    routing::{get, post},
    serve::ListenerExt,
};
use tokio::net::TcpListener;

mod binary;
mod grpc;
mod v1;
mod v2;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut ports = env::args().skip(1).map(|port| port.parse::<u16>());
    let mut port = || ports.next().ok_or("usage: handwritten HTTP_PORT GRPC_PORT");
    let (http, grpc) = (port()??, port()??);
    let router = Router::new()
        .route("/v2/health/ready", get(async || "ready"))
        .route("/v1/models/identity:predict", post(v1::identity))
        .route("/v1/models/mixed:predict", post(v1::mixed))
        .route("/v2/models/{model}/infer", post(v2::infer));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, http)).await?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let grpc =
        tonic::transport::Server::builder().add_service(grpc::service()).serve((Ipv4Addr::LOCALHOST, grpc).into());
    tokio::spawn(grpc);
    axum::serve(listener, router).await?;
    Ok(())
}
