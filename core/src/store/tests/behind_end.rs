//! Places behind the end of a partition: a reader waits for one, no group begins there (P16).

use super::*;
use crate::{GroupOptions, Message, ReaderOptions, Start};

#[test]
fn p16_a_reader_waits_for_an_offset_behind_the_end_and_no_group_begins_there() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = store.topic("t", &Default::default()).expect("topic");
    let send = |numbers: std::ops::Range<u8>| {
        for number in numbers {
            topic.send(&Message::new(&[number])).expect("send");
        }
    };
    send(0..3);
    let group_at = |offset| {
        let start = Some(Start::Offset(offset));
        let options = GroupOptions {
            start,
            ..GroupOptions::default()
        };
        topic.create_group("g", &options)
    };
    let error = group_at(4).map(drop).expect_err("behind the end");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    let range = "expected 0, its earliest message, to 3, its end";
    assert!(error.message().contains(range), "{error}");
    assert!(topic.groups().expect("groups").is_empty());
    group_at(3).expect("at the end");
    let reader_at = |offset| {
        topic.reader(&ReaderOptions {
            start: Start::Offset(offset),
            ..ReaderOptions::default()
        })
    };
    let (mut looked, mut fresh) = (reader_at(5).expect("reader"), reader_at(0).expect("reader"));
    fresh.seek(Start::Offset(5)).expect("seek");
    for (numbers, expected) in [(3..5, vec![]), (5..7, vec![5, 6])] {
        let none = looked.receive(9, Some(Duration::ZERO)).expect("read");
        assert!(none.is_empty());
        send(numbers);
        let got = looked.receive(9, Some(Duration::ZERO)).expect("read");
        let got: Vec<u64> = got.iter().map(|one| one.offset()).collect();
        assert_eq!(got, expected);
    }
    let got = fresh.receive(9, Some(Duration::ZERO)).expect("read");
    assert_eq!(got[0].offset(), 5);
}
