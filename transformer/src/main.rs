//! transformer: from a customer to an ordered list of articles.
//!
//! Settings → telemetry → [`start`] (bundle, store, rankers) → serve → drain. A request's steps have a file each:
//! [`customer`], [`history`], [`query`], [`neighbours`], [`filter`], [`features`], [`rank`], [`order`]; [`recommender`] goes through them, and
//! down the [`ladder`] of the [`rankers`] that can answer; [`explain`] and [`trace`] say why and why not, where it is asked. [`wire`] and [`instance`] say how a
//! request and its answer look. What must be known as of now are its [`facts`]; what customers do meanwhile is told as [`events`], and
//! kept as long as [`retention`] says. The [`stylist`] is a model of its own beside all that; what a page shows beside recommendations is the
//! [`shop`]'s.

mod args;
mod candidates;
mod customer;
mod events;
mod explain;
mod facts;
mod features;
mod filter;
mod history;
mod instance;
mod ladder;
mod neighbours;
mod order;
mod query;
mod rank;
mod rankers;
mod recommender;
mod retention;
mod shop;
mod start;
mod stylist;
mod trace;
mod wire;

use std::process::ExitCode;

use dataplane::{
    config,
    serve::{self, Server},
    telemetry,
};

use crate::{args::Args, start::Started};

/// Many small buffers, most of them gone within a request, and often on another thread than their first.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Args = match config::parse(std::env::args_os()) {
        Ok(args) => Args::due(args),
        Err(code) => return code,
    };
    match telemetry::init(&args.server.log_level).and_then(|()| args.check()) {
        Ok(()) => serve::block_on(run(&args)),
        Err(reason) => config::refuse(reason),
    }
}

async fn run(args: &Args) -> ExitCode {
    match start::start(args).await {
        Ok(Started { handler, routes, background }) => {
            Server::new(handler, &args.server).with_routes(routes).run(background).await
        }
        Err(reason) => config::refuse(reason),
    }
}
