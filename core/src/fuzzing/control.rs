//! `control` changed under a running process.
//!
//! What the library promises here: the process lives, every call returns in time, with an error if
//! need be; no wrong bytes are delivered; and once all have closed, `control` is laid out anew from
//! the files, in which all is there that was sent. The last holds unless a word was changed that
//! has no other to be held against (`STEERING`): then what is lost is told of where it is read.

use super::input::Input;
use super::scratch::Scratch;
use super::steps::{Steps, in_time};
use super::tree::{Tree, open_topic, options};
use super::working::{Working, change_word};
use crate::format::control::{
    BLOCKS, block, consumer, flow, group_partition, header, member, partition,
};
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
    let topic_words = block::WORDS + 2 * partition::WORDS + flow::words(2);
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
    let path = scratch.path().join(names::CONTROL);
    let mut steered = false;
    let mut life = Working::begin(scratch.path());
    let file = super::working::opened(&path);
    life.work(&mut steps, &mut input, &mut |input| {
        let (at, steers) = word(input);
        steered |= steers;
        change_word(&file, at, input);
    });
    life.end();
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
