//! The order of a gate and of the lock of large batches (P14): who has the lock never waits at the
//! gate, and who waits for the lock does not keep others from the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::tests::{draft, open, payloads};
use super::{Gate, Partition, Room};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::OwnerLock;
use crate::storage::Disk;

const BOUND: Duration = Duration::from_secs(20);

fn partition() -> (tempfile::TempDir, Arc<Partition>) {
    let folder = tempfile::TempDir::new().expect("folder");
    let partition = open(Arc::new(Disk), folder.path());
    (folder, partition)
}

/// Notes what is so when it is passed, and how often it was passed and left.
struct Noted<'a> {
    partition: &'a Partition,
    passes: AtomicUsize,
    left: AtomicUsize,
    sent: AtomicUsize,
    /// Whether it lets anybody in.
    closed: bool,
}

impl<'a> Noted<'a> {
    fn of(partition: &'a Partition) -> Self {
        Self {
            partition,
            passes: AtomicUsize::new(0),
            left: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            closed: false,
        }
    }

    fn count(of: &AtomicUsize) -> usize {
        of.load(Ordering::SeqCst)
    }
}

impl Gate for Noted<'_> {
    type Pass = ();

    fn enter(&self) -> Result<()> {
        let (lock, me) = (self.partition.block.large_lock(), self.partition.env.me);
        // One that another thread of the same member has is not told from this one's.
        let mine = OwnerLock::is_held_by(lock, me) && Self::count(&self.passes) == 0;
        assert!(!mine, "it waits with the lock of large batches in its hand");
        self.passes.fetch_add(1, Ordering::SeqCst);
        match self.closed {
            true => Err(Error::new(ErrorKind::Timeout, "there is no room")),
            false => Ok(()),
        }
    }

    fn enter_since(&self, _: Instant) -> Result<()> {
        self.enter()
    }

    fn leave(&self, (): (), done: bool) {
        self.left.fetch_add(1, Ordering::SeqCst);
        self.sent.fetch_add(usize::from(done), Ordering::SeqCst);
    }
}

#[test]
fn p14_who_waits_for_room_for_much_keeps_no_other_large_batch_waiting() {
    let (_folder, partition) = partition();
    let big = vec![7; 100_000];
    let mut gate = Noted::of(&partition);
    gate.closed = true;
    let refused = partition.append_through(&[draft(&big)], Room::Ordinary, &gate);
    assert_eq!(refused.expect_err("closed").kind(), ErrorKind::Timeout);
    assert!(OwnerLock::is_free(partition.block.large_lock()));
    assert_eq!(
        Noted::count(&gate.left),
        0,
        "nobody leaves who did not enter"
    );
    gate.closed = false;
    let sent = partition.append_through(&[draft(&big)], Room::Ordinary, &gate);
    assert_eq!(sent.expect("open"), 0);
    assert_eq!(payloads(&partition), [(0, big)]);
}

#[test]
fn p14_the_pass_is_given_up_while_another_one_copies() {
    let (_folder, partition) = partition();
    let big = vec![7; 100_000];
    let (lock, me) = (partition.block.large_lock(), partition.env.me);
    let gate = Noted::of(&partition);
    gate.passes.store(1, Ordering::SeqCst);
    assert!(OwnerLock::try_acquire(lock, me));
    std::thread::scope(|scope| {
        let append = || partition.append_through(&[draft(&big)], Room::Ordinary, &gate);
        let sender = scope.spawn(append);
        let deadline = Instant::now() + BOUND;
        while Noted::count(&gate.left) == 0 {
            assert!(Instant::now() < deadline, "it waits with the pass");
            std::thread::yield_now();
        }
        assert_eq!(Noted::count(&gate.sent), 0);
        OwnerLock::release(lock, me);
        sender.join().expect("sender").expect("sent");
    });
    assert_eq!(Noted::count(&gate.sent), 1, "the room is taken once");
    assert_eq!(Noted::count(&gate.left) + 1, Noted::count(&gate.passes));
    assert_eq!(payloads(&partition), [(0, big)]);
}

#[test]
fn p8_who_holds_a_lock_of_his_own_is_sent_to_wait_for_who_copies_without_it() {
    let (_folder, partition) = partition();
    let big = vec![7; 100_000];
    partition.make_room(&[draft(&big)]).expect("room");
    let (lock, me) = (partition.block.large_lock(), partition.env.me);
    assert!(OwnerLock::try_acquire(lock, me));
    let found = partition.append_if_room(&[draft(&big)], false);
    assert_eq!(found.expect("no error"), None);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            partition.make_room(&[draft(&big)])?;
            partition.append_if_room(&[draft(&big)], true)
        });
        OwnerLock::release(lock, me);
        assert_eq!(waits.join().expect("thread").expect("sent"), Some(0));
    });
    assert_eq!(payloads(&partition), [(0, big)]);
}

#[test]
fn p14_a_large_batch_that_needs_a_new_segment_takes_room_once() {
    let (_folder, partition) = partition();
    let big = vec![7; 700_000];
    for turn in 0..3 {
        let gate = Noted::of(&partition);
        gate.passes.store(1, Ordering::SeqCst);
        let sent = partition.append_through(&[draft(&big)], Room::Ordinary, &gate);
        assert_eq!(
            payloads(&partition).last(),
            Some(&(sent.expect("sent"), big.clone()))
        );
        assert_eq!(Noted::count(&gate.sent), 1, "turn {turn}");
        assert_eq!(Noted::count(&gate.left) + 1, Noted::count(&gate.passes));
    }
}
