//! What there is room for, what is exact, and where reading ends.

use std::io::Read;

use super::input::Input;
use super::reading::Reading;
use super::tests::{import, store};
use crate::error::ErrorKind;
use crate::storage::{Access, Disk, Storage};
use crate::store::Message;

/// What a test without its bound would read into memory.
const MORE: u64 = 64 << 20;

/// Bytes of one kind, more than a line has.
struct Same(u8, u64);

impl Read for Same {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer.fill(self.0);
        self.1 += buffer.len() as u64;
        Ok(buffer.len())
    }
}

#[test]
fn p18_a_line_is_not_read_beyond_what_one_can_be() {
    let mut zeros = Same(0, 0).take(MORE);
    let error = Input::new(&mut zeros).next().expect_err("no object");
    let zeros = zeros.into_inner();
    assert!(error.message().contains("expected an object"), "{error}");
    assert!(zeros.1 <= 4 << 20, "{} bytes were read", zeros.1);
    let mut text = b"{\"payload\":\"".chain(Same(b'x', 0).take(MORE));
    let most = 5 << 20;
    let error = Input::of_at_most(&mut text, most)
        .next()
        .expect_err("too long");
    let expected = "line 1: more than 5242880 bytes, which no message needs; nothing was imported";
    assert_eq!(error.message(), expected);
    let read = text.into_inner().1.into_inner().1;
    assert!(read <= most + (2 << 20), "{read} bytes were read");
    // White space takes no room, whatever there is of it.
    let blank = vec![b' '; 3 << 20];
    let mut text = blank.chain(&b"\n{}"[..]);
    let mut input = Input::of_at_most(&mut text, most);
    assert_eq!(input.next().expect("a line"), Some((2, "{}")));
    assert_eq!(input.bytes, (3 << 20) + 3);
    assert_eq!(input.next().expect("the end"), None);
}

#[test]
fn numbers_of_64_bits_are_exact() {
    let (_folder, store) = store();
    let says = "\"timestamp_ns\":9007199254740993,\"deliver_at_ms\":9223372036854775807,\
                \"letter_of_group\":\"fedcba9876543210\",\"payload\":\"x\"}";
    import(&store, &format!("{{\"topic\":\"a\",{says}")).expect("import");
    let mut lines = Vec::new();
    store
        .export_lines(&[], &mut lines, &mut |_, _| Ok(()))
        .expect("export");
    let lines = String::from_utf8(lines).expect("text");
    assert!(lines.contains(says), "{lines}");
}

#[test]
fn reading_ends_where_progress_says_so_and_where_nothing_can_be_put_aside() {
    let folder = tempfile::TempDir::new().expect("folder");
    let path = folder.path().join("aside");
    let lines = format!("{{\"topic\":\"a\",\"payload\":\"{}\"}}\n", "x".repeat(1000)).repeat(9000);
    let file = Disk.open(&path, Access::CreateNew, 0o600).expect("file");
    let mut calls = 0;
    let read = Reading::new(file, 0).read(&mut lines.as_bytes(), &mut |done| {
        calls += 1;
        match done > 1 << 20 {
            true => Err(crate::Error::new(ErrorKind::Timeout, "enough")),
            false => Ok(()),
        }
    });
    assert_eq!(
        read.err().map(|error| error.message().to_owned()),
        Some("enough".to_owned())
    );
    assert!(calls > 3, "{calls}");
    let file = Disk.open(&path, Access::Read, 0o600).expect("file");
    let read = Reading::new(file, 0).read(&mut lines.as_bytes(), &mut |_| Ok(()));
    assert!(read.is_err(), "a file that cannot be written");
}

#[test]
fn p12_what_waits_in_a_lane_keeps_the_hash_of_its_key_whatever_bits_it_has() {
    let (_folder, store) = store();
    let topic = store.topic("a", &Default::default()).expect("topic");
    let ids = topic.send_many(&[Message::new(b"x").key(b"k"); 2]);
    ids.expect("send");
    let consumer = topic.consumer("g", &Default::default()).expect("consumer");
    let batch = consumer.receive(2, Some(std::time::Duration::ZERO));
    let batch = batch.expect("receive");
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.dead_letter(&receipts, "no").expect("dead");
    consumer.close().expect("close");
    let group = topic.group("g").expect("group");
    group.redrive(Default::default()).expect("redrive");
    let mut lines = Vec::new();
    store
        .export_lines(&[], &mut lines, &mut |_, _| Ok(()))
        .expect("export");
    let lines = String::from_utf8(lines).expect("text");
    let hash = lines.split("\"key_hash\":").nth(1).map(|rest| {
        let end = rest.find([',', '}']).expect("an end");
        rest[..end].to_owned()
    });
    let changed = match hash {
        Some(hash) => lines.replace(&hash, "18446744073709551615"),
        None => panic!("nothing is open in the lane: {lines}"),
    };
    let (_other_folder, other) = super::tests::store();
    import(&other, &changed).expect("import");
    let mut again = Vec::new();
    other
        .export_lines(&[], &mut again, &mut |_, _| Ok(()))
        .expect("export");
    assert_eq!(String::from_utf8(again).expect("text"), changed);
}
