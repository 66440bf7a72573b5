//! Damage among what one receive takes (P3).

use super::damage::{consumer_of, drain, topic_of, write};
use super::*;
use crate::error::ErrorKind;
use crate::format::names;
use crate::store::Message;

#[test]
fn p3_p6_of_a_batch_what_is_damaged_is_told_of_and_all_else_comes_once() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_of(&store, 1);
    let consumer = consumer_of(&topic);
    let partition = names::partition_folder(&names::topic_folder(folder.path(), "t"), 0);
    // First, last, next to each other and each second one of what one call takes.
    let batches = [&[0, 1][..], &[8], &[3, 4, 5], &[1, 3, 5, 7], &[]];
    for (batch, damaged) in (0_u64..).zip(batches) {
        for number in 0..9_u8 {
            topic.send(&Message::new(&[number])).expect("send");
        }
        for number in damaged {
            let place = 4096 + 56 * (batch * 9 + number) as usize + 48;
            write(&partition.join(names::segment(0)), place, b"?");
        }
        let all = 0..9_u64;
        let good = all.filter(|number| !damaged.contains(number));
        let good = good.map(|number| batch * 9 + number).collect();
        let errors = vec![ErrorKind::Damaged; damaged.len()];
        assert_eq!(drain(&consumer), (good, errors), "batch {batch}");
    }
}
