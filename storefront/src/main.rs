//! storefront: the shop. A web page of recommendations, over the transformer's public API only.
//!
//! Settings → log → [`shop`] (what every request needs) → [`serve`] → drain. A request: [`routes`] gives it an id and its answer the
//! headers that keep a page safe; [`api`] asks the transformer through [`upstream`] and adds what the articles are; [`stylist`] does so for
//! each event of a stream, which [`sse`] reads; [`web`] has the page's own files, [`images`] the articles' pictures. What fails is a
//! [`failure`].

mod api;
mod args;
mod failure;
mod images;
mod log;
mod request;
mod routes;
mod serve;
mod shop;
mod sse;
mod stylist;
mod upstream;
mod web;

use std::process::ExitCode;

use crate::{args::Args, shop::Shop};

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let shop = log::start(&args.log_level).and_then(|()| Shop::new(&args));
    match shop {
        Ok(shop) => serve::block_on(serve::run(routes::router(shop), &args)),
        Err(reason) => args::refuse(&reason),
    }
}
