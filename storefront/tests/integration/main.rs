//! The shop as browsers see it, before a transformer that is a script: the program that is shipped, on ports of its own.

mod api;
mod pages;
mod settings;
mod shop;
mod stopping;
mod streams;
mod transformer;
