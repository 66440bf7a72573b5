//! `control` changed under a running process.
//!
//! What the library promises here: the process lives, every call returns in time, with an error if
//! need be; no wrong bytes are delivered; and once all have closed, `control` is laid out anew from
//! the files, in which all is there that was sent. The last holds unless a word was changed that
//! has no other to be held against (`STEERING`): then what is lost is told of where it is read.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::input::Input;
use super::scratch::Scratch;
use super::steps::{Steps, in_time};
use super::tree::{Tree, open_consumer, open_topic, options};
use crate::format::control::{BLOCKS, block, consumer, group_partition, header, member, partition};
use crate::format::names;
use crate::inspect;
use crate::store::Store;

const WORD: u64 = 8;
/// Words of a partition that cannot be held against others: where repair begins, what is on disk,
/// what becomes of it after a failed sync. The marks as well.
const STEERING: [usize; 13] = [
    partition::LIMIT,
    partition::SYNCED,
    partition::MARK,
    partition::POISONED,
    partition::PROMISED,
    partition::TAILS,
    partition::TAILS + 1,
    partition::TAILS + 2,
    partition::TAILS + 3,
    partition::TAILS + 4,
    partition::TAILS + 5,
    partition::TAILS + 6,
    partition::TAILS + 7,
];

/// Which word is changed, and whether the log is written by what it says.
fn word(input: &mut Input<'_>) -> (u64, bool) {
    let topic_words = block::WORDS + 2 * partition::WORDS;
    let group_words = block::WORDS + 2 * group_partition::WORDS;
    let blocks = BLOCKS as u64;
    match input.byte() % 6 {
        0 => (input.pick(header::WORDS) as u64 * WORD, false),
        1 => {
            let words = 4 * member::WORDS;
            ((member::AT as u64) + input.pick(words) as u64 * WORD, false)
        }
        2 => {
            let words = 4 * consumer::WORDS;
            (
                (consumer::AT as u64) + input.pick(words) as u64 * WORD,
                false,
            )
        }
        3 => (blocks + input.pick(block::WORDS) as u64 * WORD, false),
        4 => {
            let word = input.pick(2 * partition::WORDS);
            let steers = STEERING.contains(&(word % partition::WORDS))
                || word % partition::WORDS >= partition::MARKS;
            (blocks + (block::WORDS + word) as u64 * WORD, steers)
        }
        _ => {
            let number = topic_words + input.pick(2 * group_words);
            // Whatever comes next: groups' blocks, then the dead-letter topic's.
            (blocks + number as u64 * WORD, true)
        }
    }
}

/// Operations and changes by turns.
pub(super) fn control(data: &[u8]) {
    let mut input = Input(data);
    let scratch = Scratch::new();
    let tree = Tree::base(input.pick(2));
    tree.plant(scratch.path());
    let mut steps = Steps::new(&tree.sent, false);
    let steered = change_under(&scratch, &mut steps, &mut input);
    // Everyone has left: `control` is made anew, from what the files say.
    let store = in_time("open", || Store::open(scratch.path(), options())).expect("open again");
    let topic = open_topic(&store).expect("the topic");
    let mut seen = Vec::new();
    let read = steps.read_topic(&topic, &mut |message| {
        seen.push((message.partition(), message.offset()));
    });
    if !steered {
        read.expect("nothing is damaged");
        let missing = steps.sent.keys().find(|place| !seen.contains(place));
        assert_eq!(missing, None, "sent, and not there any more");
    }
    drop(topic);
    let closed = in_time("close", || store.close());
    if !steered {
        closed.expect("close");
        let report = inspect::verify(scratch.path(), &mut |_, _| Ok(())).expect("verify");
        assert!(report.is_intact(), "{report:?}");
    }
}

/// The life in which words are changed; whether one was by which the log is written.
fn change_under(scratch: &Scratch, steps: &mut Steps, input: &mut Input<'_>) -> bool {
    let store = Store::open(scratch.path(), options()).expect("open");
    let control = File::options()
        .read(true)
        .write(true)
        .open(scratch.path().join(names::CONTROL))
        .expect("control");
    let topic = open_topic(&store).expect("the topic");
    let mut consumers = vec![open_consumer(&topic).expect("consumer")];
    let mut held = Vec::new();
    let mut steered = false;
    for _ in 0..input.byte() % 48 {
        match input.byte() % 16 {
            0..=4 => {
                let (at, steers) = word(input);
                let mut bytes = [0; 8];
                let _ = control.read_exact_at(&mut bytes, at);
                let old = u64::from_le_bytes(bytes);
                let new = match input.byte() % 4 {
                    0 => old ^ 1 << (input.byte() % 64),
                    1 => old.wrapping_add(u64::from(input.byte())),
                    2 => old.wrapping_sub(u64::from(input.byte())),
                    _ => input.odd_number(),
                };
                steered |= steers;
                control.write_all_at(&new.to_le_bytes(), at).expect("write");
            }
            5 | 6 => {
                let len = if input.byte().is_multiple_of(8) {
                    40_000
                } else {
                    40
                };
                let _ = steps.send(&topic, u32::from(input.byte() % 2), len);
            }
            7 | 8 => {
                if let Some(consumer) = consumers.last() {
                    let found = in_time("receive", || consumer.receive(3, Some(Duration::ZERO)));
                    for delivery in found.unwrap_or_default() {
                        steps.judge(&delivery);
                        held.push(delivery);
                    }
                }
            }
            9 => {
                if let (Some(consumer), Some(one)) = (consumers.last(), held.pop()) {
                    let receipt = [one.receipt()];
                    let _ = in_time("settle", || match input.byte() % 5 {
                        0 => consumer.nack(&receipt, Some(Duration::ZERO), None),
                        1 => consumer.release(&receipt),
                        2 => consumer.dead_letter(&receipt, "dead"),
                        3 => consumer.extend(&receipt, Duration::from_secs(1)),
                        _ => consumer.ack(&receipt),
                    });
                }
            }
            10 => {
                let _ = in_time("sync", || topic.sync());
            }
            11 => {
                let _ = in_time("look", || topic.stats());
                let _ = in_time("look", || store.stats());
            }
            12 => {
                let _ = steps.read_topic(&topic, &mut |_| {});
            }
            13 => {
                if let Ok(consumer) = in_time("open a consumer", || open_consumer(&topic)) {
                    consumers.push(consumer);
                }
            }
            14 => drop(consumers.pop()),
            _ => {
                // Another member of the same process.
                let joined = in_time("join", || Store::open(scratch.path(), options()));
                if let Ok(other) = joined {
                    let _ = steps.read(&other);
                    let _ = in_time("leave", || other.close());
                }
            }
        }
    }
    held.clear();
    in_time("close all", || {
        consumers.clear();
        drop(topic);
        let _ = store.close();
    });
    steered
}
