//! Room that is kept for what must not fail on a full disk: a file that is given up for it, so that
//! consumers can go on settling (P5), and laid in again when there is room.
//!
//! Once it was given up, what room there is belongs to dead letters: no ordinary segment is
//! allocated before the ballast is back. Else a sender that tries again and again, or a next
//! segment that is prepared ahead, would take what was given up for others.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::inner::StoreInner;
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::header;
use crate::format::names;
use crate::log::{Env, MayTakeRoom};
use crate::shm::{Liveness, Owner, OwnerLock, Region};
use crate::storage::{Access, Storage};

const BYTES: u64 = 4 << 20;
/// How long one waits who only passes by.
const GLANCE: Duration = Duration::from_millis(5);

/// What is needed to look after the ballast.
#[derive(Clone)]
pub(super) struct Ballast {
    path: PathBuf,
    header: Region,
    me: Owner,
    live: Arc<dyn Liveness>,
    mode: u32,
}

impl Ballast {
    pub(super) fn of(
        store: &Path,
        header: Region,
        me: Owner,
        live: Arc<dyn Liveness>,
        mode: u32,
    ) -> Self {
        Self {
            path: store.join(names::BALLAST),
            header,
            me,
            live,
            mode,
        }
    }

    /// Lays the ballast in unless it is there; whether it is there now. Nobody waits here for long
    /// for the one whom it is being given up for; one that died at that, or at laying it in, is
    /// taken over from (P17). Such a death leaves a smaller file, to which the rest is added.
    pub(super) fn lay_in(&self, storage: &dyn Storage) -> Result<bool> {
        if self.is_whole(storage)? {
            return Ok(true);
        }
        let lock = self.header.word32(header::BALLAST_LOCK);
        let _held = match OwnerLock::hold(lock, self.me, &*self.live, GLANCE) {
            Err(error) if error.kind() == ErrorKind::Stuck => return Ok(false),
            held => held?,
        };
        let file = storage.open(&self.path, Access::Create, self.mode)?;
        match file.allocate(BYTES) {
            Ok(()) => Ok(true),
            Err(_) => storage.unlink(&self.path).map(|()| false),
        }
    }

    fn is_whole(&self, storage: &dyn Storage) -> Result<bool> {
        match storage.open(&self.path, Access::Read, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            opened => Ok(opened?.len()? >= BYTES),
        }
    }

    /// What `log::Env` asks before it allocates an ordinary segment.
    pub(super) fn guard(self) -> MayTakeRoom {
        Box::new(move |storage| {
            let given_up = self
                .header
                .load(header::BALLAST_GIVEN_UP, Ordering::Acquire)
                != 0;
            if !given_up || self.lay_in(storage)? {
                return Ok(());
            }
            Err(self.full())
        })
    }

    #[cold]
    fn full(&self) -> Error {
        let message = format!(
            "the disk was full, and the room that is left is kept for dead letters until {} has \
             its {} MiB again; make room, then try again: nothing was stored",
            self.path.display(),
            BYTES >> 20
        );
        Error::new(ErrorKind::DiskFull, message)
    }
}

impl StoreInner {
    /// Does work that must not fail on a full disk; gives the ballast up for it if need be.
    pub(super) fn with_ballast<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(error) if error.kind() == ErrorKind::DiskFull => {}
            done => return done,
        }
        let (env, header): (&Arc<Env>, _) = (&self.env, self.control.header());
        let lock = header.word32(header::BALLAST_LOCK);
        // Held until the work is done, so that nobody lays in anew what was given up for it. A
        // holder that dies leaves nothing to repair.
        let (_held, _) = OwnerLock::hold(lock, env.me, &*env.live, env.lock_timeout)?;
        // Said before it is done: a death in between costs others one look at the file.
        header.store(header::BALLAST_GIVEN_UP, 1, Ordering::Release);
        match env.storage.unlink(&self.path.join(names::BALLAST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        work()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::Mapping;
    use crate::storage::{Fault, Twin};

    struct NobodyElse;

    impl Liveness for NobodyElse {
        fn is_alive(&self, _owner: Owner) -> bool {
            false
        }
        fn describe(&self, _owner: Owner) -> String {
            "a process that died".to_owned()
        }
    }

    #[test]
    fn p5_what_was_given_up_for_dead_letters_is_nobody_elses_before_it_is_back() {
        let (twin, store) = (Twin::new(), Path::new("/store"));
        twin.create_dir(store, 0o770).expect("folder");
        let memory = Arc::new(Mapping::anonymous(4096).expect("memory"));
        let header = Region::new(&memory, 0, 4096).expect("header");
        let me = Owner {
            slot: 3,
            generation: 9,
        };
        let live = Arc::new(NobodyElse);
        let may_take_room = Ballast::of(store, header.clone(), me, live, 0o660).guard();
        may_take_room(&twin).expect("nothing was given up");
        header.store(header::BALLAST_GIVEN_UP, 1, Ordering::Release);
        twin.fail(Fault::Allocate, 1);
        let error = may_take_room(&twin).expect_err("the disk is full");
        assert_eq!(error.kind(), ErrorKind::DiskFull);
        assert!(error.message().contains("dead letters"), "{error}");
        twin.heal();
        may_take_room(&twin).expect("it is laid in again");
        let laid_in = twin.exists(&store.join(names::BALLAST)).expect("look");
        assert!(laid_in, "others go first");
    }

    #[test]
    fn p5_p17_what_one_left_that_died_with_the_ballast_in_its_hands_is_made_good() {
        let (twin, store) = (Twin::new(), Path::new("/store"));
        twin.create_dir(store, 0o770).expect("folder");
        let memory = Arc::new(Mapping::anonymous(4096).expect("memory"));
        let header = Region::new(&memory, 0, 4096).expect("header");
        let owner = |slot| Owner {
            slot,
            generation: 9,
        };
        let live = Arc::new(NobodyElse);
        let ballast = Ballast::of(store, header.clone(), owner(3), live, 0o660);
        // It had made the file and not allocated it.
        twin.open(&ballast.path, Access::Create, 0o660)
            .expect("create");
        header.store(header::BALLAST_GIVEN_UP, 1, Ordering::Release);
        let lock = header.word32(header::BALLAST_LOCK);
        std::mem::forget(OwnerLock::try_hold(lock, owner(4)).expect("free"));
        assert!(ballast.lay_in(&twin).expect("lay in"), "its lock stays");
        let file = twin.open(&ballast.path, Access::Read, 0).expect("there");
        assert_eq!(file.len().expect("length"), BYTES);
        (ballast.guard())(&twin).expect("there is room for everyone");
    }
}
