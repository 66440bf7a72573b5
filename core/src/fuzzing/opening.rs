//! A store whose files hold anything: it is verified, opened, read, used and closed. Each step
//! gives an error or right data (P3, P18).

use super::damage::damage;
use super::input::Input;
use super::scratch::Scratch;
use super::steps::{Steps, in_time};
use crate::inspect;
use crate::options::StoreOptions;
use crate::store::Store;

/// Verifies a damaged store and dumps every file of it, without opening it.
pub(super) fn verify(data: &[u8]) {
    let damaged = damage(&mut Input(data));
    let scratch = Scratch::new();
    damaged.tree.plant(scratch.path());
    let _ = in_time("verify", || {
        inspect::verify(scratch.path(), &mut |_, _| Ok(()))
    });
    for name in damaged.tree.files.keys() {
        let path = scratch.path().join(name);
        let _ = in_time("dump", || inspect::dump(&path, &mut std::io::sink()));
    }
}

/// Opens a damaged store and uses it.
pub(super) fn opening(data: &[u8]) {
    let mut input = Input(data);
    let damaged = damage(&mut input);
    let scratch = Scratch::new();
    damaged.tree.plant(scratch.path());
    let mut steps = Steps::new(&damaged.tree.sent, damaged.forged);
    let flags = input.byte();
    if flags & 1 == 1 {
        let _ = in_time("verify", || {
            inspect::verify(scratch.path(), &mut |_, _| Ok(()))
        });
    }
    if flags & 2 == 2 {
        let read_only = StoreOptions {
            read_only: true,
            ..super::tree::options()
        };
        let _ = in_time("open to read", || Store::open(scratch.path(), read_only))
            .and_then(|store| in_time("read", || steps.read(&store)));
    }
    let plan = input.bytes(8);
    for life in 0..2 {
        let opened = in_time("open", || {
            Store::open(scratch.path(), super::tree::options())
        });
        let lived = opened.and_then(|store| {
            let used = steps.use_it(&store, plan);
            in_time("close", || store.close())?;
            used
        });
        if let (true, Err(error)) = (damaged.untouched, lived) {
            panic!("life {life} of an undamaged store: {error}");
        }
    }
    let _ = in_time("verify", || {
        inspect::verify(scratch.path(), &mut |_, _| Ok(()))
    });
}
