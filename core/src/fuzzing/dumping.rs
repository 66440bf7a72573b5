//! `inspect::dump` of a file that holds anything.

use super::damage::forge;
use super::image::Image;
use super::input::Input;
use super::scratch::Scratch;
use super::steps::in_time;
use crate::inspect;

const NAMES: [&str; 10] = [
    "00000000000000000000.log",
    "00000000000000000000.index",
    "next",
    "0.window",
    "reserve",
    "control",
    "store.meta",
    "topic.meta",
    "group.meta",
    "lock",
];

/// A name, whether checksums are made right, then the file.
pub(super) fn dump(data: &[u8]) {
    let mut input = Input(data);
    let name = NAMES[input.pick(NAMES.len())];
    let flags = input.byte();
    let mut image = Image::of(input.0);
    if flags & 1 == 1 {
        forge(name, &mut image, 4096);
    }
    if flags & 2 == 2 {
        image.set_len(1 << 20);
    }
    let scratch = Scratch::new();
    let path = scratch.path().join(name);
    image.plant(&path);
    let mut text = Vec::new();
    let _ = in_time("dump", || inspect::dump(&path, &mut text));
    assert!(text.is_ascii() || std::str::from_utf8(&text).is_ok());
}
