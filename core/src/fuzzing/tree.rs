//! Small real stores in memory, made once: as a clean close left one, and as a kill left one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::image::Image;
use super::scratch::Scratch;
use crate::format::record::{self, HEADER};
use crate::format::segment::RECORDS;
use crate::format::{names, window};
use crate::options::{GroupOptions, StoreOptions, TopicOptions};
use crate::store::{Consumer, ConsumerOptions, Message, Store, Topic};

/// The topic and the group that every tree has.
pub(super) const TOPIC: &str = "t";
pub(super) const GROUP: &str = "g";

/// Key and payload by partition and offset.
pub(super) type Sent = BTreeMap<(u32, u64), (Option<Vec<u8>>, Vec<u8>)>;

/// The files of a store.
#[derive(Clone, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, Image>,
    pub(super) folders: Vec<String>,
    /// Places of interest in each file, at which something begins.
    pub(super) marks: Arc<BTreeMap<String, Vec<u64>>>,
    pub(super) sent: Arc<Sent>,
}

impl Tree {
    /// One of the trees.
    pub(super) fn base(number: usize) -> &'static Self {
        static BASES: OnceLock<Vec<Tree>> = OnceLock::new();
        let bases = BASES.get_or_init(make);
        &bases[number % bases.len()]
    }

    fn of(folder: &Path, sent: Sent) -> Self {
        let mut tree = Self {
            sent: Arc::new(sent),
            ..Self::default()
        };
        tree.take_in(folder, "");
        let marks = |(name, image): (&String, &Image)| (name.clone(), marks(name, image));
        tree.marks = Arc::new(tree.files.iter().map(marks).collect());
        tree
    }

    fn take_in(&mut self, folder: &Path, place: &str) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("entry");
            let name = format!("{place}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.folders.push(name.clone());
                self.take_in(&entry.path(), &format!("{name}/"));
            } else if name != names::BALLAST {
                let bytes = std::fs::read(entry.path()).expect("a file");
                self.files.insert(name, Image::of(&bytes));
            }
        }
    }

    /// Puts the store on disk.
    pub(super) fn plant(&self, folder: &Path) {
        for name in &self.folders {
            std::fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        for (name, image) in &self.files {
            image.plant(&folder.join(name));
        }
    }
}

/// Positions at which headers, records, slots and entries begin.
fn marks(name: &str, image: &Image) -> Vec<u64> {
    if name.ends_with(".log") {
        let (mut marks, mut at) = (vec![0], RECORDS as u64);
        while at + HEADER as u64 <= image.len() {
            marks.push(at);
            match image.u32(at) {
                0 => break,
                length => at += record::padded(u64::from(length)),
            }
        }
        return marks;
    }
    if name.ends_with(".window") {
        let parts = window::Parts::of(image.u64(8 * window::header::LIMIT as u64) as u32);
        let entries = (0..12).map(|n| (parts.entries + n * window::ENTRY) as u64);
        let words = (0..window::header::WORDS as u64).map(|word| word * 8);
        return words.chain(entries).collect();
    }
    vec![0, 8, 16, 32, 64, 512, 4096]
}

pub(super) fn options() -> StoreOptions {
    StoreOptions {
        lock_timeout: Duration::from_millis(50),
        ..StoreOptions::default()
    }
}

pub(super) fn open_topic(store: &Store) -> crate::Result<Topic> {
    let options = TopicOptions {
        partitions: Some(2),
        ..TopicOptions::default()
    };
    store.topic(TOPIC, &options)
}

pub(super) fn open_consumer(topic: &Topic) -> crate::Result<Consumer> {
    let group = GroupOptions {
        max_attempts: Some(2),
        lease: Some(Duration::from_secs(3600)),
        window: Some(256),
        ..GroupOptions::default()
    };
    let options = ConsumerOptions {
        group,
        ..ConsumerOptions::default()
    };
    topic.consumer(GROUP, &options)
}

/// Two trees of one life each: clean, killed.
fn make() -> Vec<Tree> {
    let scratch = Scratch::new();
    let mut sent = Sent::new();
    let store = Store::open(scratch.path(), options()).expect("open");
    let topic = open_topic(&store).expect("topic");
    let consumer = open_consumer(&topic).expect("consumer");
    for number in 0_u32..12 {
        let key = format!("key-{}", number % 3);
        send(
            &topic,
            number % 2,
            (number % 4 != 3).then_some(&*key),
            20,
            &mut sent,
        );
    }
    settle_some(&consumer);
    // More than one segment, almost all of it zeros.
    for _ in 0..3 {
        send(&topic, 0, None, 500_000, &mut sent);
    }
    topic.sync().expect("sync");
    for _ in 0..3 {
        send(&topic, 1, Some("key-9"), 9, &mut sent);
    }
    let killed = Tree::of(scratch.path(), sent.clone());
    drop((consumer, topic));
    store.close().expect("close");
    vec![Tree::of(scratch.path(), sent), killed]
}

fn send(topic: &Topic, partition: u32, key: Option<&str>, len: usize, sent: &mut Sent) {
    let mut payload = vec![0; len];
    payload[..8].copy_from_slice(&(sent.len() as u64 ^ 0xA5A5_A5A5).to_le_bytes());
    let key = key.map(|key| key.as_bytes().to_vec());
    let headers: [(&str, &[u8]); 1] = [("h", b"value")];
    let mut message = Message::new(&payload)
        .partition(partition)
        .headers(&headers);
    if let Some(key) = &key {
        message = message.key(key);
    }
    let id = topic.send(&message).expect("send");
    sent.insert((id.partition, id.offset), (key, payload));
}

/// One each: acknowledged, failed, dead, released, started, leased.
fn settle_some(consumer: &Consumer) {
    let mut found = Vec::new();
    while found.len() < 6 {
        let more = consumer.receive(6, Some(Duration::ZERO)).expect("receive");
        assert!(!more.is_empty(), "keys keep others back, but not six");
        found.extend(more);
    }
    let receipt = |at: usize| [found[at].receipt()];
    consumer.ack(&receipt(0)).expect("ack");
    consumer.nack(&receipt(1), None, Some("why")).expect("nack");
    consumer.dead_letter(&receipt(2), "dead").expect("dead");
    consumer.release(&receipt(3)).expect("release");
    found[4].start();
}
