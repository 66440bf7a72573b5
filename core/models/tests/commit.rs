//! The group commit: one syncs for all that have published; what a sender was told to be on disk is
//! on disk; a failed sync is told of; a dead syncer is replaced.

use std::sync::Arc;

use libqueue_models::log::{Partition, Room};
use libqueue_models::options::Durability;
use libqueue_models::party::{LONG, Party, draft, read};
use libqueue_models::world::{Kernel, Mutation, Naps, Setting, check, finds, long, mortal, thread};

const STORES: usize = 70;

fn send(partition: &Partition) -> Option<u64> {
    let sent = partition.append_durably(&[draft(b"data")], Room::Ordinary, LONG);
    sent.ok()
}

/// Sends, and looks at the disk right after.
fn send_and_look(partition: &Partition, party: &Party) -> Option<u64> {
    let sent = send(partition);
    if let Some(offset) = sent {
        let there = party.on_disk();
        assert!(there > offset, "offset {offset} of {there} on disk (P2)");
    }
    sent
}

/// Some senders at a time.
fn senders(count: u16) -> impl Fn() + Send + Sync + 'static {
    move || {
        let party = Arc::new(Party::new(Durability::Sync));
        let own = party.open(9);
        send_and_look(&own, &party).expect("the disk works");
        let others: Vec<_> = (1..count)
            .map(|slot| {
                let (partition, party) = (party.open(slot + 1), party.clone());
                thread::spawn(move || send_and_look(&partition, &party))
            })
            .collect();
        send_and_look(&own, &party).expect("the disk works");
        for other in others {
            other.join().expect("sender").expect("the disk works");
        }
    }
}

/// The disk fails once: whoever is told of success has it on disk, whoever is told of an error has
/// nothing in the log (P5).
fn failing_disk() {
    let party = Arc::new(Party::new(Durability::Sync));
    let own = party.open(9);
    send(&own).expect("the disk works");
    party.disk.fail_syncs(1);
    let other = {
        let (partition, party) = (party.open(2), party.clone());
        thread::spawn(move || send_and_look(&partition, &party))
    };
    let mine = send_and_look(&own, &party);
    let theirs = other.join().expect("sender");
    assert!(
        mine.is_none() || theirs.is_none(),
        "a failed sync was told to nobody"
    );
    let told: Vec<u64> = [Some(0), mine, theirs].into_iter().flatten().collect();
    own.sync().expect("the disk works again");
    let mut there: Vec<u64> = read(&own).iter().map(|(offset, _)| *offset).collect();
    let mut told = told;
    there.sort_unstable();
    told.sort_unstable();
    assert_eq!(there, told, "an error means that it is not in the log (P5)");
}

/// A sender dies somewhere, with whatever lock it holds then.
fn dead_syncer() {
    let party = Arc::new(Party::new(Durability::Sync));
    let (victim, heir) = (party.open(Kernel::MORTAL), party.open(2));
    send(&heir).expect("the disk works");
    let other = {
        let party = party.clone();
        thread::spawn(move || {
            mortal(&party.kernel, || {
                send_and_look(&victim, &party);
            })
        })
    };
    send_and_look(&heir, &party).expect("the disk works");
    other.join().expect("victim");
    send_and_look(&heir, &party).expect("the disk works");
    let found = read(&heir);
    assert!(found.iter().all(|(_, payload)| payload == b"data"));
}

fn bound(short: usize, all: usize) -> usize {
    if long() { all } else { short }
}

#[test]
fn p2_what_was_told_to_be_on_disk_is_and_none_sleeps_for_ever() {
    check(Setting::new(Naps::Endless, bound(2, 3)), senders(2));
}

#[test]
fn p5_a_failed_sync_is_told_to_all_whose_messages_it_took() {
    check(Setting::new(Naps::Bounded, bound(1, 2)), failing_disk);
}

#[test]
fn p2_p17_a_dead_syncer_is_replaced() {
    for stores in (0..STORES).step_by(bound(3, 1)) {
        let setting = Setting::new(Naps::Bounded, bound(1, 2));
        check(setting.dying_after(stores), dead_syncer);
    }
}

#[test]
fn p2_three_senders_at_a_time() {
    if cfg!(feature = "shuttle") {
        check(Setting::new(Naps::Endless, bound(2, 20)), senders(3));
    }
}

#[test]
fn the_model_finds_a_mark_before_the_sync() {
    let setting = Setting::new(Naps::Endless, 1).with(Mutation::EarlySync);
    assert!(finds(setting, senders(2)));
}

#[test]
fn the_model_finds_a_forgotten_wake_up() {
    let setting = Setting::new(Naps::Endless, 1).with(Mutation::NoWake);
    assert!(finds(setting, senders(2)));
}
