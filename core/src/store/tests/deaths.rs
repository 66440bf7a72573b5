//! Members that are killed, stopped, or taken for dead.

use std::sync::Mutex;

use rustix::process::Signal;

use super::*;
use crate::format::control::header;
use crate::shm::{Acquired, Owner, OwnerLock, Starting};
use crate::store::consumer_table::ConsumerEntry;
use crate::store::death::Cleanup;
use crate::store::gone::Moves;

fn owner(said: &str) -> Owner {
    let mut words = said
        .rsplit(' ')
        .map(|word| word.parse::<u32>().expect("number"));
    let (generation, slot) = (
        words.next().expect("generation"),
        words.next().expect("slot"),
    );
    Owner {
        slot: slot as u16,
        generation,
    }
}

#[test]
fn p17_a_killed_member_is_found_and_its_slot_gets_a_new_generation() {
    let folder = tempfile::tempdir().expect("folder");
    let store = enter(folder.path()).expect("open");
    let mut actor = Actor::start("member", folder.path());
    let other = owner(&actor.hear());
    assert!(store.env.live.is_alive(other));
    assert_eq!(store.member_count(), 2);
    actor.kill();
    assert!(!store.env.live.is_alive(other), "alive after SIGKILL");
    until("the dead one's slot is free", || {
        store.find_dead(0).expect("look");
        buried(&store)
    });
    assert_eq!(store.member_count(), 1);
    let mut next = Actor::start("member", folder.path());
    let heir = owner(&next.hear());
    assert_eq!(heir.slot, other.slot);
    assert_ne!(heir.generation, other.generation);
    assert!(store.env.live.is_alive(heir) && !store.env.live.is_alive(other));
}

#[test]
fn p17_a_stopped_member_is_named_and_not_robbed_and_a_killed_one_is_inherited_from() {
    let folder = tempfile::tempdir().expect("folder");
    let store = enter(folder.path()).expect("open");
    let mut actor = Actor::start("in-lock", folder.path());
    assert_eq!(actor.hear(), "held");
    actor.signal(Signal::STOP);
    let word = store.control.header().word32(header::REGISTRY_LOCK);
    let take = |bound| OwnerLock::hold(word, store.env.me, &*store.env.live, bound);
    let error = take(Duration::from_millis(100))
        .map(|_| ())
        .expect_err("stopped is not dead");
    assert_eq!(error.kind(), ErrorKind::Stuck);
    let process = format!("process {}", actor.process.id());
    assert!(error.message().contains(&process), "{error}");
    assert_eq!(store.find_dead(0).expect("look"), 0);
    actor.signal(Signal::CONT);
    actor.go();
    assert_eq!(actor.hear(), "released");
    assert_eq!(take(BOUND).expect("free").1, Acquired::Clean);
    let mut second = Actor::start("in-lock", folder.path());
    assert_eq!(second.hear(), "held");
    second.kill();
    assert!(matches!(
        take(BOUND).expect("inherit").1,
        Acquired::Inherited(_)
    ));
    assert_eq!(
        store
            .control
            .topic_block(1, 2)
            .expect("works on")
            .partitions
            .len(),
        2
    );
}

/// While this process starts another one, as other tests do, that one has copies of its
/// descriptors, and the kernel takes a member for alive whose own is closed. Its death is over only
/// then, or who looks for the dead finds nobody, and goes on as if all had been cleaned up after.
#[test]
fn p17_the_death_of_a_tests_member_is_over_once_the_kernel_says_so() {
    let folder = tempfile::tempdir().expect("folder");
    let other = enter(folder.path()).expect("open");
    let store = Store::open(folder.path(), options()).expect("open");
    let dying = store.inner().expect("open").clone();
    let lock = dying.lock.as_ref().expect("lock");
    let starting = Starting::now();
    std::thread::scope(|scope| {
        let dies = scope.spawn(|| {
            store.die();
            other.env.live.is_alive(dying.env.me)
        });
        until("its own descriptor is closed", || {
            lock.try_shared(crate::format::control::lock::STORE_BYTE)
                .is_err()
        });
        assert!(other.env.live.is_alive(dying.env.me), "by the copy");
        drop(starting);
        assert!(!dies.join().expect("thread"), "alive after its death");
    });
    until("it is cleaned up after", || {
        other.find_dead(0).expect("look");
        buried(&other)
    });
}

/// Nobody dead is left whose slot is not free again.
fn buried(store: &StoreInner) -> bool {
    store
        .members
        .as_ref()
        .expect("a member")
        .fence_dead()
        .is_empty()
}

#[derive(Default)]
struct Seen {
    consumers: Mutex<Vec<ConsumerEntry>>,
    fail_once: Mutex<bool>,
    /// What becomes of the sync for a dead member.
    synced: Option<ErrorKind>,
}

impl Cleanup for Seen {
    fn consumer_died(
        &self,
        _: &Arc<StoreInner>,
        consumer: &ConsumerEntry,
        _: &mut Moves,
    ) -> Result<()> {
        if std::mem::take(&mut *self.fail_once.lock().expect("lock")) {
            return Err(crate::error::Error::new(ErrorKind::Io, "the disk is away"));
        }
        self.consumers.lock().expect("lock").push(consumer.clone());
        Ok(())
    }
    fn member_died(&self, _: &Arc<StoreInner>) -> Result<()> {
        let failed = |kind| Err(crate::error::Error::new(kind, "the disk is away"));
        self.synced.map_or(Ok(()), failed)
    }
}

/// Gives leases back as groups do, and syncs for ever.
struct Syncs(Mutex<std::sync::mpsc::Receiver<()>>);

impl Cleanup for Syncs {
    fn consumer_died(
        &self,
        store: &Arc<StoreInner>,
        consumer: &ConsumerEntry,
        moves: &mut Moves,
    ) -> Result<()> {
        crate::store::cleanup::Groups.consumer_died(store, consumer, moves)
    }
    fn member_died(&self, _: &Arc<StoreInner>) -> Result<()> {
        let _ = self.0.lock().expect("lock").recv();
        Ok(())
    }
}

#[test]
fn p10_leases_of_the_dead_wait_for_no_sync() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("z", &Default::default()).expect("topic");
    let group = topic.create_group("g", &Default::default());
    group.expect("group");
    let (end, ended) = std::sync::mpsc::channel();
    let inner = store.inner().expect("open");
    assert!(
        inner
            .cleanup
            .set(Arc::new(Syncs(Mutex::new(ended))))
            .is_ok()
    );
    let consumer = topic.consumer("g", &Default::default()).expect("consumer");
    // The first death keeps housekeeping busy, the second one comes behind it.
    for _ in 0..2 {
        topic.send(&crate::Message::new(b"x")).expect("send");
        let mut actor = Actor::start("leases", folder.path());
        assert_eq!(actor.hear(), "leased");
        actor.kill();
        let found = consumer.receive(1, Some(BOUND)).expect("receive");
        assert_eq!(found.len(), 1, "the lease did not come back");
        consumer.ack(&[found[0].receipt()]).expect("ack");
    }
    drop(end);
}

#[test]
fn p17_a_slot_is_free_again_though_what_its_member_sent_cannot_be_synced() {
    for kind in [ErrorKind::Io, ErrorKind::Poisoned, ErrorKind::Damaged] {
        let folder = tempfile::tempdir().expect("folder");
        let store = enter(folder.path()).expect("open");
        let seen = Seen {
            synced: Some(kind),
            ..Seen::default()
        };
        assert!(store.cleanup.set(Arc::new(seen)).is_ok());
        let mut actor = Actor::start("member", folder.path());
        actor.hear();
        actor.kill();
        until("the slot is free", || {
            store.find_dead(0).expect("look");
            buried(&store)
        });
    }
}

#[test]
fn p17_who_looks_after_the_dead_and_meets_a_held_lock_closes_without_an_error() {
    let folder = tempfile::tempdir().expect("folder");
    let store = enter(folder.path()).expect("open");
    let seen = Seen {
        synced: Some(ErrorKind::Stuck),
        ..Seen::default()
    };
    assert!(store.cleanup.set(Arc::new(seen)).is_ok());
    let mut actor = Actor::start("member", folder.path());
    actor.hear();
    actor.kill();
    until("it is found", || store.find_dead(0).expect("look") == 1);
    assert!(!buried(&store), "who comes next does the rest");
    store.close().expect("close");
}

#[test]
fn p10_a_dead_members_consumers_are_returned_once_by_whoever_finds_it_also_on_a_second_try() {
    let folder = tempfile::tempdir().expect("folder");
    let store = enter(folder.path()).expect("open");
    let seen = Arc::new(Seen {
        fail_once: Mutex::new(true),
        ..Seen::default()
    });
    assert!(store.cleanup.set(seen.clone()).is_ok());
    let mut actor = Actor::start("consumer", folder.path());
    let said = actor.hear();
    let group = said
        .split(' ')
        .nth(1)
        .expect("group")
        .parse::<u64>()
        .expect("number");
    actor.kill();
    until("the consumer is returned", || {
        // The first try fails half way; whoever comes next begins again.
        let _ = store.find_dead(0);
        buried(&store)
    });
    let seen = seen.consumers.lock().expect("lock");
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].group, &*seen[0].name), (group, "worker-1"));
    let block = store.control.group_at(group).expect("block");
    assert!(
        store.control.consumers_of_group(&block).is_empty(),
        "the table keeps a dead one"
    );
}

#[test]
fn p17_one_that_was_taken_for_dead_is_fenced() {
    let folder = tempfile::tempdir().expect("folder");
    let (one, two) = (
        enter(folder.path()).expect("open"),
        enter(folder.path()).expect("open"),
    );
    one.env.check_fence().expect("a member");
    // What closing the library's descriptors behind its back does.
    let byte = 16 + u64::from(one.env.me.slot);
    one.lock
        .as_ref()
        .expect("lock")
        .unlock(byte)
        .expect("unlock");
    until("it is found", || {
        two.find_dead(0).expect("look");
        two.member_count() == 1
    });
    assert_eq!(
        one.env.check_fence().expect_err("fenced").kind(),
        ErrorKind::Fenced
    );
    two.env.check_fence().expect("the living are not");
}
