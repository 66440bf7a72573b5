//! Damaged files under a group: what it costs, what is told, and that others go on.

use std::os::unix::fs::FileExt;

use super::*;
use crate::format::names;
use crate::format::window::{CLOSED, header};
use crate::options::{Backoff, Durability, GroupOptions, ReaderOptions, Start, TopicOptions};
use crate::storage::{Fault, Twin};
use crate::store::{Consumer, ConsumerOptions, Message, Topic};

const NOW: Option<Duration> = Some(Duration::ZERO);

pub(super) fn topic_of(store: &Store, partitions: u32) -> Topic {
    let options = TopicOptions {
        partitions: Some(partitions),
        ..TopicOptions::default()
    };
    store.topic("t", &options).expect("topic")
}

/// Leaves a store with five messages, closed.
fn closed_with_five(folder: &Path) {
    let store = Store::open(folder, options()).expect("open");
    let topic = topic_of(&store, 1);
    for number in 0..5_u8 {
        topic.send(&Message::new(&[number])).expect("send");
    }
}

pub(super) fn consumer_of(topic: &Topic) -> Consumer {
    topic
        .consumer("g", &ConsumerOptions::default())
        .expect("consumer")
}

pub(super) fn write(path: &Path, at: usize, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(path);
    file.and_then(|file| file.write_all_at(bytes, at as u64))
        .expect("write");
}

fn window_path(store: &Path, partition: u32) -> PathBuf {
    names::group_folder(&names::topic_folder(store, "t"), "g").join(names::window(partition))
}

/// The store is closed, as by its last member, and its group's windows with it. Another test of
/// this process that starts one may be at it just then: a forked child has copies of descriptors
/// until its exec, or its fork handler. While it holds a copy of this store's lock, who closes the
/// store is not the last one and closes no window; then it is opened and closed again.
fn wait_until_closed(folder: &Path, partitions: u32) {
    let until = Instant::now() + BOUND;
    let is_closed = |number| {
        let text = std::fs::read(window_path(folder, number)).expect("window");
        crate::format::u64_at(&text, header::CLEAN * 8) == CLOSED
    };
    while !(0..partitions).all(is_closed) {
        assert!(Instant::now() < until, "somebody has it open");
        std::thread::sleep(Duration::from_millis(1));
        let store = Store::open(folder, options()).expect("open");
        topic_of(&store, partitions).group("g").expect("group");
        store.close().expect("close");
    }
}

/// Offsets that a consumer gets and acknowledges until it gets no more, and the errors in between.
pub(super) fn drain(consumer: &Consumer) -> (Vec<u64>, Vec<ErrorKind>) {
    let (mut seen, mut errors) = (Vec::new(), Vec::new());
    loop {
        match consumer.receive(9, NOW) {
            Ok(found) if found.is_empty() => return (seen, errors),
            Ok(found) => {
                seen.extend(found.iter().map(|one| one.offset()));
                let receipts: Vec<_> = found.iter().map(|one| one.receipt()).collect();
                consumer.ack(&receipts).expect("ack");
            }
            Err(error) => {
                errors.push(error.kind());
                assert!(errors.len() < 20, "{errors:?}");
            }
        }
    }
}

#[test]
fn p3_p6_a_flipped_bit_of_an_offset_takes_no_other_message_from_a_group() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_of(&store, 1);
    let send = || {
        for number in 0..5_u8 {
            topic.send(&Message::new(&[number])).expect("send");
        }
    };
    send();
    let partition = names::partition_folder(&names::topic_folder(folder.path(), "t"), 0);
    write(
        &partition.join(names::segment(0)),
        4096 + 56 + 8 + 5,
        &[0x40],
    );
    let consumer = consumer_of(&topic);
    assert_eq!(
        drain(&consumer),
        (vec![0, 2, 3, 4], vec![ErrorKind::Damaged])
    );
    send();
    assert_eq!(drain(&consumer), (vec![5, 6, 7, 8, 9], vec![]));
    assert_eq!(
        topic
            .group("g")
            .expect("group")
            .stats()
            .expect("stats")
            .damaged,
        1
    );
}

#[test]
fn p3_each_damaged_message_is_told_of_also_where_the_flow_never_runs_dry() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_of(&store, 1);
    let consumer = consumer_of(&topic);
    for number in 0..20_u8 {
        topic.send(&Message::new(&[number])).expect("send");
    }
    let partition = names::partition_folder(&names::topic_folder(folder.path(), "t"), 0);
    let places = [2, 3, 11, 19].map(|number| 4096 + 56 * number);
    for place in places {
        write(&partition.join(names::segment(0)), place + 48, b"?");
    }
    let (mut seen, mut told) = (0, Vec::new());
    for _ in 0..20 {
        topic.send_many(&[Message::new(b"more"); 3]).expect("send");
        match consumer.receive(3, NOW) {
            Ok(found) => seen += found.len(),
            Err(error) => told.push(error),
        }
    }
    assert!(seen > 40, "it never runs dry");
    assert_eq!(told.len(), 4);
    for (error, place) in told.iter().zip(places) {
        let named = format!("at byte {place}:");
        assert!(error.message().contains(&named), "{error}, {place}");
    }
}

#[test]
fn p5_a_batch_of_which_a_part_is_in_the_log_says_which() {
    let twin = Twin::new();
    let durable = StoreOptions {
        durability: Durability::Sync,
        ..options()
    };
    let store = Store::open_on(Arc::new(twin.clone()), Path::new("/store"), &durable);
    let store = store.expect("open");
    let topic = topic_of(&store, 2);
    let both = [0, 1].map(|number| Message::new(b"x").partition(number));
    topic.send_many(&both).expect("send");
    // The second partition's sync fails.
    twin.fail(Fault::Sync, 2);
    let error = topic.send_many(&both).expect_err("the disk is away");
    assert!(error.message().contains("partitions 0 are in"), "{error}");
    twin.heal();
    let error = topic.send_many(&both).expect_err("until it was synced");
    assert_eq!(error.kind(), ErrorKind::Poisoned);
    store.sync().expect("it is back");
    let ends = topic.stats().expect("stats").partitions;
    let reader = topic.reader(&ReaderOptions::default());
    let found = reader.expect("reader").receive(9, NOW).expect("receive");
    assert_eq!(found.len(), 3, "{ends:?}");
}

#[test]
fn p6_p13_a_damaged_window_takes_no_message_of_another_partition() {
    let folder = tempfile::tempdir().expect("folder");
    let fail_at_once = Backoff {
        first: Duration::ZERO,
        longest: Duration::ZERO,
        factor: 1.0,
    };
    let group = GroupOptions {
        lease: Some(Duration::from_millis(20)),
        max_attempts: Some(1),
        backoff: Some(fail_at_once),
        ..GroupOptions::default()
    };
    let with = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    {
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = topic_of(&store, 2);
        for number in 0..2 {
            topic
                .send(&Message::new(b"x").partition(number))
                .expect("send");
        }
        let consumer = topic.consumer("g", &with).expect("consumer");
        let got = consumer.receive(9, Some(BOUND)).expect("receive");
        consumer.release(&[got[0].receipt()]).expect("release");
    }
    wait_until_closed(folder.path(), 2);
    let window = window_path(folder.path(), 1);
    let is = std::fs::read(&window).expect("read")[header::CRC * 8];
    write(&window, header::CRC * 8, &[!is]);
    let store = Store::open(folder.path(), options()).expect("open");
    let consumer = topic_of(&store, 2).consumer("g", &with).expect("consumer");
    let mut got = Vec::new();
    let mut told = 0;
    for _ in 0..4 {
        match consumer.receive(9, NOW) {
            Ok(found) => got.extend(found.iter().map(|one| one.partition())),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Damaged);
                told += 1;
            }
        }
    }
    assert_eq!(got, [0], "and nothing is burned");
    assert!(told > 0);
}

#[test]
fn p18_an_end_that_cannot_be_in_a_window_that_was_closed_is_an_error() {
    let folder = tempfile::tempdir().expect("folder");
    {
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = topic_of(&store, 1);
        topic.send(&Message::new(b"x")).expect("send");
        consumer_of(&topic).receive(9, NOW).expect("receive");
    }
    wait_until_closed(folder.path(), 1);
    write(
        &window_path(folder.path(), 0),
        header::NEXT * 8 + 6,
        &[0xEE],
    );
    let place = folder.path().to_owned();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let store = Store::open(&place, options()).expect("open");
        let error = consumer_of(&topic_of(&store, 1)).receive(9, NOW);
        let _ = tell.send(error.map(|_| ()).expect_err("no window is so wide"));
    });
    let error = told.recv_timeout(BOUND).expect("no walk for ever");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("0.window"), "{error}");
}

#[test]
fn p19_sending_to_several_partitions_from_a_new_process_rolls_none() {
    let folder = tempfile::tempdir().expect("folder");
    let one = Store::open(folder.path(), options()).expect("open");
    let send = |topic: &Topic| {
        let batch = [0, 1].map(|number| Message::new(b"x").partition(number));
        topic.send_many(&batch).expect("send");
    };
    send(&topic_of(&one, 2));
    for _ in 0..3 {
        let other = Store::open(folder.path(), options()).expect("open");
        send(&topic_of(&other, 2));
    }
    let stats = topic_of(&one, 2).stats().expect("stats");
    assert_eq!((stats.messages, stats.segments), (8, 2));
}

#[test]
fn a_reader_ahead_of_the_log_gets_what_it_waits_for() {
    let folder = tempfile::tempdir().expect("folder");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_of(&store, 1);
    let start = Start::Offset(2);
    let with = crate::ReaderOptions {
        start,
        ..Default::default()
    };
    let mut reader = topic.reader(&with).expect("reader");
    for number in 0..4_u8 {
        let read = reader.receive(9, NOW).expect("receive");
        assert_eq!(read.len(), usize::from(number > 2));
        topic.send(&Message::new(&[number])).expect("send");
    }
}

#[test]
fn p10_when_all_died_only_what_was_started_is_charged() {
    let folder = tempfile::tempdir().expect("folder");
    let topic = {
        let store = Store::open(folder.path(), options()).expect("open");
        topic_of(&store, 2);
        let mut worker = Actor::start("starts-some", folder.path());
        assert_eq!(worker.hear(), "started");
        drop(store);
        worker.kill();
        let store = Store::open(folder.path(), options()).expect("open");
        topic_of(&store, 2)
    };
    let got = consumer_of(&topic)
        .receive(9, Some(BOUND))
        .expect("receive");
    assert_eq!(
        got.len(),
        3,
        "those that were merely fetched are ready at once"
    );
    let stats = topic.group("g").expect("group").stats().expect("stats");
    assert_eq!((stats.failed, stats.acked), (0, 1));
}

/// Fills a topic's only partition until it has three segments; how many messages it has.
fn fill(topic: &Topic, len: usize) -> u64 {
    let payload = vec![1; len];
    let batch = vec![Message::new(&payload); 30_000 / len.min(30_000)];
    while topic.stats().expect("stats").segments < 3 {
        topic.send_many(&batch).expect("send");
    }
    topic.stats().expect("stats").messages
}

#[test]
fn p3_p6_a_group_reads_on_behind_a_segment_whose_header_is_damaged() {
    // With few messages, and with more than a window has room for at first.
    for (len, held) in [(30_000, false), (60, true)] {
        let folder = tempfile::tempdir().expect("folder");
        let count = {
            let store = Store::open(folder.path(), options()).expect("open");
            fill(&topic_of(&store, 1), len)
        };
        let partition = names::partition_folder(&names::topic_folder(folder.path(), "t"), 0);
        let mut bases: Vec<u64> = std::fs::read_dir(&partition)
            .expect("list")
            .filter_map(|entry| names::parse_segment(entry.expect("entry").file_name().to_str()?))
            .collect();
        bases.sort_unstable();
        write(&partition.join(names::segment(bases[1])), 20, &[0xEE]);
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = topic_of(&store, 1);
        let consumer = consumer_of(&topic);
        let mut kept = (0..bases[1]).chain(bases[2]..count);
        let first = held.then(|| consumer.receive(1, NOW).expect("receive").remove(0));
        assert_eq!(
            first.as_ref().map(|first| first.offset()),
            held.then(|| kept.next()).flatten()
        );
        let (seen, errors) = drain(&consumer);
        assert!(seen.iter().copied().eq(kept), "{} of {count}", seen.len());
        assert_eq!(errors, [ErrorKind::Damaged]);
    }
}

#[test]
fn p13_a_group_whose_last_sync_failed_while_it_was_made_is_there_or_can_be_made() {
    use crate::storage::{Fault, Twin};
    for nth in 1.. {
        let twin = Twin::new();
        let path = Path::new("/store");
        let store = Store::open_on(Arc::new(twin.clone()), path, &options()).expect("open");
        let topic = topic_of(&store, 2);
        topic.send(&Message::new(b"x")).expect("send");
        twin.fail(Fault::SyncFolder, nth);
        let made = topic
            .create_group("g", &GroupOptions::default())
            .map(|_| ());
        twin.heal();
        let group = topic.create_group("g", &GroupOptions::default());
        let group = group.expect("there, or made now");
        assert_eq!(group.stats().expect("stats").lag_messages, 1, "call {nth}");
        assert_eq!(drain(&consumer_of(&topic)).0, [0], "call {nth}");
        if made.is_ok() {
            assert!(nth > 2, "no folder was synced");
            return;
        }
    }
}

#[test]
fn p4_the_reserve_of_another_partition_is_refused_and_no_offset_is_used_twice() {
    let folder = tempfile::tempdir().expect("folder");
    let reserve = |partition| {
        let partition =
            names::partition_folder(&names::topic_folder(folder.path(), "t"), partition);
        partition.join(names::RESERVE)
    };
    {
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = topic_of(&store, 2);
        for number in [0, 0, 0, 1] {
            topic
                .send(&Message::new(b"x").partition(number))
                .expect("send");
        }
    }
    let right = std::fs::read(reserve(0)).expect("read");
    std::fs::copy(reserve(1), reserve(0)).expect("copy");
    let send = || {
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = store.open_topic("t")?;
        topic.send(&Message::new(b"x").partition(0))
    };
    let error = send().expect_err("offsets would be used twice");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("0/reserve"), "{error}");
    std::fs::write(reserve(0), right).expect("write");
    assert_eq!(send().expect("send").offset, 3);
}

#[test]
fn p3_a_log_whose_only_segment_is_gone_is_told_of_to_readers_and_groups() {
    let folder = tempfile::tempdir().expect("folder");
    closed_with_five(folder.path());
    let partition = names::partition_folder(&names::topic_folder(folder.path(), "t"), 0);
    std::fs::remove_file(partition.join(names::segment(0))).expect("remove");
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_of(&store, 1);
    let mut reader = topic.reader(&Default::default()).expect("reader");
    let error = reader.receive(9, NOW).expect_err("all is gone");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains("0.log is missing"), "{error}");
    assert_eq!(
        drain(&consumer_of(&topic)),
        (vec![], vec![ErrorKind::Damaged])
    );
    assert_eq!(topic.send(&Message::new(b"x")).expect("send").offset, 5);
    let read = reader.receive(9, NOW).expect("receive");
    assert_eq!(read.len(), 1, "and the log goes on");
}

#[test]
fn p3_a_zeroed_length_in_the_active_segment_is_told_of_and_hides_nothing_behind_it() {
    let folder = tempfile::tempdir().expect("folder");
    closed_with_five(folder.path());
    let partition = names::partition_folder(&names::topic_folder(folder.path(), "t"), 0);
    write(&partition.join(names::segment(0)), 4096 + 56, &[0; 4]);
    let store = Store::open(folder.path(), options()).expect("open");
    let topic = topic_of(&store, 1);
    let mut reader = topic.reader(&Default::default()).expect("reader");
    let before = reader.receive(9, NOW).expect("receive");
    let error = reader.receive(9, NOW).expect_err("damage");
    assert!(error.message().contains(".log at byte 4152"), "{error}");
    let behind = reader.receive(9, NOW).expect("receive");
    let read = before.iter().chain(&behind).map(|one| one.offset());
    assert_eq!(read.collect::<Vec<_>>(), [0, 2, 3, 4]);
    let expected = (vec![0, 2, 3, 4], vec![ErrorKind::Damaged]);
    assert_eq!(drain(&consumer_of(&topic)), expected);
}
