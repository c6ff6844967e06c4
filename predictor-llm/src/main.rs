//! predictor-llm: scores candidates with a large language model, through any OpenAI-compatible API.
//!
//! Settings → telemetry → [`start`] (template, client, model) → serve, while [`selftest`] finds out whether the LLM is good for anything
//! → drain. A request: [`rows`] reads it, [`scorer`] asks [`pointwise`] or [`listwise`], both through the [`cache`]; [`template`] writes
//! prompts, [`llm`] calls within [`budget`] and deadline over [`api`], [`parse`] reads what came. [`ranker`] answers, [`explain`] says why.
//! The second model, [`stylist`], has the LLM put outfits together, and answers while it does.

mod api;
mod args;
mod asking;
mod budget;
mod cache;
mod explain;
mod features;
mod listwise;
mod llm;
mod metrics;
mod miss;
mod parse;
mod pointwise;
mod ranker;
mod rows;
mod scorer;
mod selftest;
mod start;
mod stylist;
mod tau;
mod template;
mod wire;

use std::process::ExitCode;

use dataplane::{
    config,
    serve::{self, Server},
    telemetry,
};

use crate::{args::Args, start::Started};

fn main() -> ExitCode {
    let args: Args = match config::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    match telemetry::init(&args.server.log_level) {
        Ok(()) => serve::block_on(run(&args)),
        Err(reason) => config::refuse(reason),
    }
}

async fn run(args: &Args) -> ExitCode {
    match start::start(args) {
        Ok(Started { handler, routes, background }) => {
            Server::new(handler, &args.server).with_routes(routes).run(background).await
        }
        Err(reason) => config::refuse(reason),
    }
}
