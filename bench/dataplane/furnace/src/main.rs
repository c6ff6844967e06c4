//! An identity model on furnace-server, with its defaults: no batching, no log.
//!
//! `furnace HTTP_PORT GRPC_PORT`

use std::{env, error::Error};

use furnace::{HostTensor, IoSpec, Model, Server, TensorModel};

#[derive(Debug)]
struct Identity;

impl TensorModel for Identity {
    fn name(&self) -> &str {
        "identity"
    }
    fn backend(&self) -> &str {
        "cpu"
    }
    fn inputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("input", &[16])]
    }
    fn outputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("output", &[16])]
    }
    fn run(&self, inputs: Vec<HostTensor>) -> furnace::Result<Vec<HostTensor>> {
        Ok(inputs)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut ports = env::args().skip(1).map(|port| port.parse::<u16>());
    let mut port = || ports.next().ok_or("usage: furnace HTTP_PORT GRPC_PORT");
    let (http, grpc) = (port()??, port()??);
    let server = Server::new().port(http).configure(|config| config.grpc_port = Some(grpc));
    server.model(Model::custom(Identity)).serve().await?;
    Ok(())
}
