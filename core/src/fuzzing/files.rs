//! Windows and segments changed under a running process.
//!
//! What the library promises here (P18): the process lives, every call returns in time, with an
//! error if need be, and no wrong bytes are delivered; also to whoever opens the store next. What
//! was settled may come once more and what was sent may be told of as damaged.

use super::input::Input;
use super::scratch::Scratch;
use super::steps::{Steps, in_time};
use super::tree::{GROUP, TOPIC, Tree, options};
use super::working::{Working, change_word, opened};
use crate::format::names;
use crate::inspect;
use crate::store::Store;

/// Operations and changes by turns, and another life.
pub(super) fn files(data: &[u8]) {
    let mut input = Input(data);
    let scratch = Scratch::new();
    let tree = Tree::base(input.pick(2));
    tree.plant(scratch.path());
    let mut steps = Steps::new(&tree.sent, false);
    let files: Vec<_> = (0..2)
        .flat_map(|number| {
            let segment = names::segment(0);
            [
                format!("topics/{TOPIC}/groups/{GROUP}/{}", names::window(number)),
                format!("topics/{TOPIC}/{number}/{segment}"),
            ]
        })
        .map(|name| {
            let marks = tree.marks.get(&name).cloned().unwrap_or_default();
            (opened(&scratch.path().join(&name)), marks)
        })
        .collect();
    let mut life = Working::begin(scratch.path());
    life.work(&mut steps, &mut input, &mut |input| {
        let (file, marks) = &files[input.pick(files.len())];
        let mark = marks.get(input.pick(marks.len())).copied().unwrap_or(0);
        change_word(file, mark + u64::from(input.byte() % 8) * 8, input);
    });
    life.end();
    let _ = in_time("verify", || {
        inspect::verify(scratch.path(), &mut |_, _| Ok(()))
    });
    let plan = input.bytes(8);
    let opened = in_time("open", || Store::open(scratch.path(), options()));
    let _ = opened.and_then(|store| {
        let used = steps.use_it(&store, plan);
        in_time("close", || store.close())?;
        used
    });
}
