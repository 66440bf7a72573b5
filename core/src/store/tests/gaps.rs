//! Offsets that no message has, at the change from one segment to the next.

use std::os::unix::fs::FileExt;

use super::*;
use crate::format::names;
use crate::format::record::{END, HEADER, Header};
use crate::format::segment::{COVERED, SIZE_MIN, SegmentHeader};
use crate::format::u64_at;
use crate::store::{ConsumerOptions, Message};

/// Closes the first segment of a partition with three messages; the log goes on at `base`.
fn go_on_at(folder: &Path, base: u64) {
    let path = folder.join(names::segment(0));
    let mut bytes = std::fs::read(&path).expect("read");
    let header = SegmentHeader::decode(&bytes[..COVERED + 4]).expect("whole");
    let reserve = std::fs::read(folder.join(names::RESERVE)).expect("read");
    let mark = [0, 512].map(|slot| u64_at(&reserve, slot + 40));
    let at = mark.into_iter().max().expect("two slots");
    let end = Header {
        offset: base,
        kind: END,
        ..Header::default()
    };
    let end = end.encode(HEADER as u32, header.salt, 0);
    let file = std::fs::OpenOptions::new().write(true).open(&path);
    file.and_then(|file| file.write_all_at(&end, at))
        .expect("write");
    let header = SegmentHeader {
        base,
        capacity: SIZE_MIN,
        ..header
    };
    bytes.clear();
    bytes.extend_from_slice(&header.encode());
    bytes.resize(SIZE_MIN as usize, 0);
    std::fs::write(folder.join(names::segment(base)), bytes).expect("write");
}

#[test]
fn p6_a_gap_at_the_end_of_a_segment_holds_no_floor_back() {
    let folder = tempfile::tempdir().expect("folder");
    let visit = |send: u8, ack: &[u64]| {
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = store.topic("t", &Default::default()).expect("topic");
        for number in 0..send {
            topic.send(&Message::new(&[number])).expect("send");
        }
        // Another member: what this one has mapped of the log it has not.
        let other = Store::open(folder.path(), options()).expect("open");
        let consumer = other
            .open_topic("t")
            .and_then(|topic| topic.consumer("g", &ConsumerOptions::default()))
            .expect("consumer");
        let mut seen = Vec::new();
        while seen.len() < ack.len() {
            let got = consumer.receive(9, Some(BOUND)).expect("receive");
            assert!(!got.is_empty(), "only {seen:?} came");
            for one in got {
                seen.push(one.offset());
                // The first is kept until all have come, so that the window is never empty.
                if one.offset() > 0 {
                    consumer.ack(&[one.receipt()]).expect("ack");
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, ack);
        consumer.close().expect("close");
        drop((consumer, topic));
        other.close().expect("close");
        store.close().expect("close");
    };
    visit(3, &[0, 1, 2]);
    go_on_at(&folder.path().join("topics/t/0"), 5);
    visit(2, &[0, 5, 6]);
    let window = folder.path().join("topics/t/groups/g/0.window");
    let floor = || u64_at(&std::fs::read(&window).expect("read"), 7 * 8);
    assert_eq!(floor(), 0, "the first was handed back");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    let consumer = topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer");
    let got = consumer.receive(9, Some(BOUND)).expect("receive");
    assert_eq!(got.iter().map(|one| one.offset()).collect::<Vec<_>>(), [0]);
    consumer.ack(&[got[0].receipt()]).expect("ack");
    assert_eq!(floor(), 7, "over all that came and over the gap");
    consumer.close().expect("close");
    drop((got, consumer, topic));
    store.close().expect("close");
}
