//! What the other processes do.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::format::control::lock::STORE_BYTE;
use crate::format::control::{flow, group_partition, header, partition};
use crate::format::names;
use crate::shm::{LockFile, OwnerLock, fork_in_test};
use crate::storage::{Access, File};

/// The entry of a process with a role; nothing in an ordinary run.
#[test]
fn role() {
    let (Ok(role), Ok(place)) = (std::env::var(ROLE), std::env::var(PLACE)) else {
        return;
    };
    let place = PathBuf::from(place);
    match role.split_once(' ').unwrap_or((&role, "")) {
        ("member", _) => member(&place),
        ("in-lock", _) => in_lock(&place),
        ("in-all-locks", _) => in_all_locks(&place),
        ("consumer", _) => consumer(&place),
        ("laying-out", _) => laying_out(&place),
        ("dies-at", step) => dies_at(&place, step.parse().expect("step")),
        ("changes", how) => changes(&place, how),
        ("forks", _) => forks(&place),
        ("sends-at-intervals", _) => sends_at_intervals(&place),
        ("leases", _) => leases(&place),
        ("starts-some", _) => starts_some(&place),
        ("starts-redriven", _) => starts_redriven(&place),
        _ => panic!("no role {role:?}"),
    }
}

fn member(place: &Path) {
    let store = enter(place).expect("open");
    let me = store.env.me;
    let laid_out = store.control.header().get(header::LAID_OUT);
    say(&format!(
        "{} {laid_out} {} {}",
        store.id, me.slot, me.generation
    ));
    wait_for_go();
}

fn in_lock(place: &Path) {
    let store = enter(place).expect("open");
    let word = store.control.header().word32(header::REGISTRY_LOCK);
    let _held = OwnerLock::try_hold(word, store.env.me).expect("free");
    say("held");
    wait_for_go();
    drop(_held);
    say("released");
    wait_for_go();
}

/// Sends, takes some, and sits in every lock of the topic and its group.
fn in_all_locks(place: &Path) {
    let store = Store::open(place, options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    let consumer = topic.consumer("g", &Default::default()).expect("consumer");
    for _ in 0..10 {
        topic.send(&crate::Message::new(b"x")).expect("send");
    }
    let batch = consumer.receive(4, Some(Duration::ZERO)).expect("receive");
    consumer.ack(&[batch[0].receipt()]).expect("ack");
    let me = topic.inner.store.env.me;
    let words = [
        &topic.inner.block.partitions[0],
        &consumer.group.block.partitions[0],
    ];
    let limits = topic.inner.block.flow.as_ref().expect("limits");
    let locks = [
        words[0].word32(partition::LOCK),
        words[0].word32(partition::SYNC_LOCK),
        words[0].word32(partition::SLOW_LOCK),
        words[0].word32(partition::LARGE_LOCK),
        words[1].word32(group_partition::LOCK),
        words[1].word32(group_partition::SYNC_LOCK),
        limits.word32(flow::LOCK),
        limits.word32(flow::COUNT_LOCK),
    ];
    let held = locks.map(|lock| OwnerLock::try_hold(lock, me).expect("free"));
    say("held");
    wait_for_go();
    drop(held);
    drop(batch);
}

fn consumer(place: &Path) {
    let store = enter(place).expect("open");
    let group = store.control.group_block(7, 8, 1).expect("block");
    let slot = store
        .control
        .register_consumer(&group, "worker-1", 1)
        .expect("register");
    say(&format!("{} {}", slot.0, group.at()));
    wait_for_go();
}

fn sends_at_intervals(place: &Path) {
    let store = Store::open(place, super::legacy::at_intervals()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    topic.send(&crate::Message::new(b"x")).expect("send");
    say("sent");
    wait_for_go();
}

/// Of one batch from two partitions one is started and done, the others are merely fetched.
fn starts_some(place: &Path) {
    let store = Store::open(place, options()).expect("open");
    let topic = store.open_topic("t").expect("topic");
    for number in 0..4 {
        let message = crate::Message::new(b"x").partition(number % 2);
        topic.send(&message).expect("send");
    }
    let worker = topic.consumer("g", &Default::default()).expect("consumer");
    let got = worker.receive(9, Some(BOUND)).expect("receive");
    assert_eq!(got.len(), 4);
    got[0].start();
    worker.ack(&[got[0].receipt()]).expect("ack");
    say("started");
    wait_for_go();
}

/// Of one batch of a redriven message and a fresh one the first is started.
fn starts_redriven(place: &Path) {
    let store = Store::open(place, options()).expect("open");
    let topic = store.open_topic("t").expect("topic");
    let worker = topic.consumer("g", &Default::default()).expect("consumer");
    let got = worker.receive(9, Some(BOUND)).expect("receive");
    assert_eq!(got.len(), 2);
    got[0].start();
    say(&format!("started {}", got[0].offset()));
    wait_for_go();
}

fn leases(place: &Path) {
    let store = Store::open(place, options()).expect("open");
    let topic = store.open_topic("z").expect("topic");
    let worker = topic.consumer("g", &Default::default()).expect("consumer");
    let got = worker.receive(1, Some(BOUND)).expect("receive");
    assert_eq!(got.len(), 1);
    say("leased");
    wait_for_go();
}

/// Alone in the store, half through laying it out.
fn laying_out(place: &Path) {
    let lock = Disk
        .lock_file(&place.join(names::LOCK), false, 0o660)
        .expect("lock");
    assert!(lock.try_exclusive(STORE_BYTE).expect("lock"));
    let control = Disk
        .open(&place.join(names::CONTROL), Access::Create, 0o660)
        .expect("control");
    control.allocate(1 << 20).expect("allocate");
    say("half");
    wait_for_go();
}

fn dies_at(place: &Path, step: u32) {
    let storage = Arc::new(Dying {
        left: AtomicU32::new(step),
        ..Dying::default()
    });
    let world = World {
        storage,
        clock: Arc::new(SystemClock),
        housekeeping: true,
    };
    let _store = open(place, &options(), &world).expect("open");
    say("opened");
    std::process::exit(0);
}

/// Dies before so many steps of changing or deleting a group.
fn changes(place: &Path, how: &str) {
    let (step, what) = how.split_once(' ').expect("step and what");
    let storage = Arc::new(Dying::default());
    let store = Store::open_on(storage.clone(), place, &options()).expect("open");
    let topic = store.open_topic("t").expect("topic");
    let group = topic.group("g").expect("group");
    let redrive = || group.redrive(crate::RedriveOptions::default()).map(drop);
    let out = match what {
        "die again" => {
            redrive().expect("redrive");
            let worker = topic.consumer("g", &Default::default()).expect("g");
            let got = worker.receive(9, Some(BOUND)).expect("receive");
            assert_eq!(got.len(), 1);
            Some((worker, got[0].receipt()))
        }
        _ => None,
    };
    say("opened");
    wait_for_go();
    storage
        .left
        .store(step.parse().expect("step"), Ordering::Relaxed);
    match what {
        "configure" => group.configure(&crate::GroupOptions {
            lease: Some(Duration::from_secs(77)),
            max_attempts: Some(7),
            ..Default::default()
        }),
        "seek" => group.seek(crate::Start::Earliest, None).map(drop),
        "restore" => group.seek("s", None).map(drop),
        "snapshot" => group.snapshot("other").map(drop),
        "redrive" => redrive(),
        "purge" => group.purge_dead_letters(None).map(drop),
        "die again" => {
            let (worker, receipt) = out.as_ref().expect("one is out");
            worker.dead_letter(&[*receipt], "again")
        }
        "configure topic" => topic.configure(&crate::TopicOptions {
            max_message_bytes: Some(7),
            durability: Some(crate::Durability::Sync),
            ..Default::default()
        }),
        "unique" => super::dedup_crashes::sends_unique(&topic),
        "delete topic" => store.delete_topic("t"),
        _ => group.delete(),
    }
    .expect(what);
    storage.left.store(0, Ordering::Relaxed);
    say("done");
    std::process::exit(0);
}

/// The disk under a process that dies before its n-th step, or never; it may say that it is remote.
#[derive(Default)]
pub(super) struct Dying {
    pub(super) left: AtomicU32,
    pub(super) network: Option<&'static str>,
}

impl Dying {
    fn step(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let me = rustix::process::getpid();
            let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
        }
    }
}

impl Storage for Dying {
    fn open(&self, path: &Path, access: Access, mode: u32) -> Result<Arc<dyn File>> {
        self.step();
        Disk.open(path, access, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step();
        Disk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> Result<()> {
        self.step();
        Disk.unlink(path)
    }
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        self.step();
        Disk.create_dir(path, mode)
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.step();
        Disk.remove_dir(path)
    }
    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        Disk.list(folder)
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        self.step();
        Disk.exists(path)
    }
    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.step();
        Disk.sync_dir(folder)
    }
    fn boot_id(&self) -> [u8; 16] {
        Disk.boot_id()
    }
    fn free_bytes(&self, path: &Path) -> Result<u64> {
        Disk.free_bytes(path)
    }

    fn network_kind(&self, path: &Path) -> Result<Option<&'static str>> {
        match self.network {
            Some(kind) => Ok(Some(kind)),
            None => Disk.network_kind(path),
        }
    }
    fn lock_file(&self, path: &Path, read_only: bool, mode: u32) -> Result<LockFile> {
        self.step();
        Disk.lock_file(path, read_only, mode)
    }
}

/// Opens, forks; the child waits for "go", then uses the handle, and so does its own child.
fn forks(place: &Path) {
    let store = Store::open(place, options()).expect("open");
    let me = store.inner().expect("open").env.me;
    let parents = store.clone();
    fork_in_test(move || {
        say(&format!("child of {} {}", me.slot, me.generation));
        wait_for_go();
        let mine = store.inner().expect("join anew").env.me;
        say(&format!("child is {} {}", mine.slot, mine.generation));
        let childs = store.clone();
        fork_in_test(move || {
            let mine = childs.inner().expect("join anew").env.me;
            say(&format!("grandchild is {} {}", mine.slot, mine.generation));
            wait_for_go();
            0
        });
        store.stats().expect("works");
        wait_for_go();
        0
    });
    // Only SIGKILL ends this one, with its store open.
    loop {
        std::thread::park();
        assert!(parents.inner().is_ok());
    }
}
