//! A store whose files hold anything: it is verified, opened, read, used and closed. Each step
//! gives an error or right data (P3, P18).

use super::damage::damage;
use super::input::Input;
use super::scratch::Scratch;
use super::steps::{Steps, in_time};
use crate::error::ErrorKind;
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

/// Copies what can be read of a damaged store: what comes out is whole, or nothing does.
pub(super) fn recover(data: &[u8]) {
    let mut input = Input(data);
    let options = inspect::RecoverOptions {
        all: input.byte() % 2 == 1,
    };
    let damaged = damage(&mut input);
    let scratch = Scratch::new();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    std::fs::create_dir(&from).expect("a folder");
    damaged.tree.plant(&from);
    let done = in_time("recover", || {
        inspect::recover_with(&from, &to, options, &mut |_, _| Ok(()))
    });
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            assert!(!damaged.untouched, "an undamaged store: {error}");
            assert!(!to.exists(), "something is left after {error}");
            return;
        }
    };
    let report = inspect::verify(&to, &mut |_, _| Ok(())).expect("a store");
    // What was made to look whole may say what no writer would.
    assert!(damaged.forged || report.is_intact(), "{report:?}");
    assert!(!damaged.untouched || done.losses.is_empty(), "{done:?}");
    let mut steps = Steps::new(&damaged.tree.sent, damaged.forged);
    let store = Store::open(&to, super::tree::options()).expect("open the copy");
    if done.topics > 0 {
        let _ = steps.read(&store);
    }
    in_time("close", || store.close()).expect("close the copy");
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
        // Retention may take what is settled while it is read, which a reader is told of.
        if let (true, Err(error)) = (damaged.untouched, lived)
            && error.kind() != ErrorKind::Removed
        {
            panic!("life {life} of an undamaged store: {error}");
        }
    }
    let _ = in_time("verify", || {
        inspect::verify(scratch.path(), &mut |_, _| Ok(()))
    });
}
