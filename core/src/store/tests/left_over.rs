//! Letters whose messages held their keys, and do so no more; and damaged letters whose messages
//! still do.

use super::*;
use crate::format::names;
use crate::options::{GroupOptions, OnDeadLetter};
use crate::store::{
    Consumer, ConsumerOptions, Group, Message, MessageId, MessageState, RedriveOptions, Topic,
};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Three dead letters that hold their keys, behind each of which another message waits.
struct Scene {
    folder: tempfile::TempDir,
    _store: Store,
    topic: Topic,
    worker: Consumer,
    group: Group,
    letters: Vec<MessageId>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let store = Store::open(folder.path(), options()).expect("open");
        let topic = store.topic("t", &Default::default()).expect("topic");
        let with = ConsumerOptions {
            group: GroupOptions {
                on_dead_letter: Some(OnDeadLetter::HoldKey),
                ..GroupOptions::default()
            },
            ..ConsumerOptions::default()
        };
        let worker = topic.consumer("g", &with).expect("consumer");
        for payload in [&b"early"[..], b"later"] {
            for key in [b"a", b"b", b"c"] {
                topic.send(&Message::new(payload).key(key)).expect("send");
            }
        }
        let got = worker.receive(9, NOW).expect("receive");
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        worker.dead_letter(&receipts, "no use").expect("bury");
        let group = topic.group("g").expect("group");
        let letters = group.dead_letters(9).expect("letters");
        let letters: Vec<_> = letters.iter().map(|one| one.message.id()).collect();
        assert_eq!(letters.len(), 3);
        Self {
            folder,
            _store: store,
            topic,
            worker,
            group,
            letters,
        }
    }

    fn settle(&self, offset: u64) {
        let id = self.group.peek(0, offset).expect("peek").message.id();
        self.group.settle(id).expect("settle");
    }

    /// Offsets of what is handed out now and acknowledged.
    fn manage(&self) -> Vec<u64> {
        let got = self.worker.receive(9, NOW).expect("receive");
        let receipts: Vec<_> = got.iter().map(|one| one.receipt()).collect();
        self.worker.ack(&receipts).expect("ack");
        got.iter().map(|one| one.offset()).collect()
    }

    /// Flips bytes of the payload of a letter in its file.
    fn damage(&self, letter: usize) {
        let letters = names::topic_folder(self.folder.path(), "t.g.dlq");
        let file = names::partition_folder(&letters, 0).join(names::segment(0));
        let bytes = std::fs::read(&file).expect("read");
        let payloads = bytes.windows(5).enumerate();
        let mut places = payloads.filter(|(_, five)| *five == b"early");
        let (at, _) = places.nth(letter).expect("payload");
        let open = std::fs::OpenOptions::new().write(true).open(&file);
        let open = open.expect("file");
        std::os::unix::fs::FileExt::write_all_at(&open, b"E", at as u64).expect("write");
    }
}

fn first(limit: u64) -> RedriveOptions<'static> {
    RedriveOptions {
        limit: Some(limit),
        ..RedriveOptions::default()
    }
}

#[test]
fn p12_what_is_left_of_settled_messages_takes_no_place_of_a_limit() {
    let scene = Scene::new();
    scene.settle(0);
    let mut told = Vec::new();
    let done = scene.group.redrive(RedriveOptions {
        progress: Some(&mut |done, of| {
            told.push((done, of));
            true
        }),
        ..first(1)
    });
    assert_eq!((done.expect("redrive"), told), (1, vec![(1, 1)]));
    assert_eq!(scene.manage(), [1, 3]);
    assert_eq!(scene.group.redrive(first(9)).expect("redrive"), 1);
    assert_eq!(scene.manage(), [2, 4]);
    assert_eq!(scene.group.stats().expect("stats").redriven, 2);
}

#[test]
fn p12_what_is_left_of_settled_messages_is_refused_by_its_id() {
    for purges in [false, true] {
        let scene = Scene::new();
        scene.settle(1);
        let end = |ids: &[MessageId]| match purges {
            true => scene.group.purge_dead_letters(Some(ids)),
            false => scene.group.redrive(RedriveOptions {
                ids: Some(ids),
                ..RedriveOptions::default()
            }),
        };
        for again in 0..2 {
            let error = end(&scene.letters[1..]).expect_err("one is none, or both are");
            let refused = [vec![0], vec![0, 1]];
            assert_eq!(error.refused_places(), refused[again], "{purges}, {again}");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
        let expected = [[2, 4].as_slice(), &[4, 5]][usize::from(purges)];
        assert_eq!(scene.manage(), expected);
    }
}

#[test]
fn p3_p11_the_key_of_a_damaged_letter_is_held_until_its_message_is_settled_by_its_id() {
    let scene = Scene::new();
    // From here on the lane knows of all three.
    let purged = scene.group.purge_dead_letters(Some(&scene.letters[..1]));
    assert_eq!(purged.expect("purge"), 1);
    scene.damage(1);
    let error = scene.group.purge_dead_letters(None).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().starts_with("1 dead letters"), "{error}");
    let again = scene.group.purge_dead_letters(None);
    assert_eq!(again.expect("told once"), 0);
    let stats = scene.group.stats().expect("stats");
    assert_eq!((stats.purged, stats.damaged, stats.holding), (2, 1, 1));
    assert_eq!(scene.manage(), [3, 5]);
    let peeked = scene.group.peek(0, 1).expect("peek");
    assert_eq!(peeked.state, MessageState::Holding);
    scene.settle(1);
    assert_eq!(scene.manage(), [4]);
    assert_eq!(
        scene
            .topic
            .group("g")
            .expect("group")
            .stats()
            .expect("stats")
            .lag_messages,
        0
    );
}
