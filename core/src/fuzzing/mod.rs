//! The bodies of the fuzz targets, which `core/fuzz` runs under libFuzzer and `cargo test` runs
//! over the regressions, over seeds and over some thousand mutations of these.
//!
//! A body takes any bytes and panics where a promise does not hold: mostly P18, that no bytes cost
//! more than an error; in the model P6, P10, P11, P12 and P16. The crate that users get has none of
//! it.

mod control;
mod damage;
mod decoders;
mod decoders_sent;
mod dumping;
mod files;
mod hook;
mod image;
mod importing;
mod input;
mod model;
mod model_check;
mod model_letters;
mod model_seek;
mod opening;
mod scratch;
#[cfg(test)]
mod seeds;
mod steps;
#[cfg(test)]
mod tests;
mod tree;
mod working;

/// What a target does with an input.
pub type Body = fn(&[u8]);

/// Every target by name; `core/fuzz/fuzz_targets` has a file for each.
pub const TARGETS: [(&str, Body); 21] = [
    ("record", decoders::record),
    ("segment_header", decoders::segment_header),
    ("index", decoders::index),
    ("window", decoders::window),
    ("reserve", decoders::reserve),
    ("sent", decoders_sent::sent),
    ("journal", decoders::journal),
    ("meta", decoders::meta),
    ("names", decoders::names),
    ("headers", decoders::headers),
    ("filter", decoders::filter),
    ("snapshot", decoders::snapshot),
    ("dump", dumping::dump),
    ("verify", opening::verify),
    ("opening", opening::opening),
    ("recover", opening::recover),
    ("import", importing::import),
    ("import_lines", importing::import_lines),
    ("control", control::control),
    ("files", files::files),
    ("model", model::model),
];

/// Runs a target under a fuzzer: a panic that nobody may answer with an error ends the process.
pub fn run(target: &str, data: &[u8]) {
    hook::install();
    body(target)(data);
}

fn body(target: &str) -> Body {
    let found = TARGETS.iter().find(|(name, _)| *name == target);
    found.map(|(_, body)| *body).expect("a target of this name")
}
