//! As in `create_lock`: while a dead-letter topic is walked, and what the dead left is removed; and
//! what they leave of what they did without the lock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::create_lock::{Other, ROOT, at_events, put_away};
use super::seek::Scene;
use super::*;
use crate::format::control::group_partition;
use crate::format::names;
use crate::options::{DeadLetter, GroupOptions, TopicOptions};
use crate::shm::LockFile;
use crate::storage::{Access, Event, File, remove_all};
use crate::store::{ConsumerOptions, Message, Receipt};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// A disk that tells of each file before it is opened, and of each folder once it was listed, and
/// may leave folders where they are.
#[derive(Default)]
pub(super) struct Told {
    disk: Disk,
    pub(super) tell: Mutex<Option<Tell>>,
    overlay: bool,
}

type Tell = Box<dyn FnMut(&Path) + Send>;

impl Told {
    /// Not of what is done while it is told.
    fn told(&self, path: &Path) {
        let tell = self.tell.lock().expect("lock").take();
        if let Some(mut tell) = tell {
            tell(path);
            *self.tell.lock().expect("lock") = Some(tell);
        }
    }
}

impl Storage for Told {
    fn open(&self, path: &Path, access: Access, mode: u32) -> Result<Arc<dyn File>> {
        self.told(path);
        self.disk.open(path, access, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        if self.overlay && from.is_dir() {
            let other = std::io::Error::from_raw_os_error(libc::EXDEV);
            return Err(crate::Error::io("rename", from, other));
        }
        self.disk.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> Result<()> {
        self.disk.unlink(path)
    }
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        self.disk.create_dir(path, mode)
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.disk.remove_dir(path)
    }
    fn list(&self, folder: &Path) -> Result<Vec<String>> {
        let names = self.disk.list(folder);
        self.told(folder);
        names
    }
    fn exists(&self, path: &Path) -> Result<bool> {
        self.disk.exists(path)
    }
    fn sync_dir(&self, folder: &Path) -> Result<()> {
        self.disk.sync_dir(folder)
    }
    fn boot_id(&self) -> [u8; 16] {
        self.disk.boot_id()
    }
    fn free_bytes(&self, path: &Path) -> Result<u64> {
        self.disk.free_bytes(path)
    }
    fn network_kind(&self, path: &Path) -> Result<Option<&'static str>> {
        self.disk.network_kind(path)
    }
    fn lock_file(&self, path: &Path, read_only: bool, mode: u32) -> Result<LockFile> {
        self.disk.lock_file(path, read_only, mode)
    }
}

/// Letters of another group, in several segments, are walked over for those of this one: by who
/// looks whether a dead mover left any, and by who looks whether any is left.
#[test]
fn p12_p17_while_a_dead_letter_topic_is_walked_others_create() {
    for moves_are_done in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let hasty = StoreOptions {
            lock_timeout: Duration::from_millis(20),
            ..options()
        };
        let other = Store::open(folder.path(), hasty).expect("open");
        let topic = other.topic("t", &Default::default()).expect("topic");
        let mine = topic.create_group("g", &Default::default()).expect("group");
        let to = |name: &str| GroupOptions {
            dead_letter_topic: Some(DeadLetter::Topic(name.into())),
            ..GroupOptions::default()
        };
        let with = ConsumerOptions {
            group: to("t.g.dlq"),
            ..ConsumerOptions::default()
        };
        let worker = topic.consumer("h", &with).expect("consumer");
        let payload = vec![7; 700 << 10];
        for _ in 0..6 {
            topic.send(&Message::new(&payload)).expect("send");
        }
        let got = worker.receive(9, NOW).expect("receive");
        let receipts: Vec<Receipt> = got.iter().map(|one| one.receipt()).collect();
        worker.dead_letter(&receipts, "no use").expect("bury");
        if moves_are_done {
            let words = &mine.inner.block.partitions[0];
            words.store(group_partition::MOVED, 1, Ordering::Release);
        }
        let first = names::topic_folder(folder.path(), "t.g.dlq");
        let first = names::partition_folder(&first, 0).join(names::segment(0));
        let disk = Arc::new(Told::default());
        let world = World {
            storage: disk.clone(),
            clock: Arc::new(SystemClock),
            housekeeping: false,
        };
        let store = Store::open_in(&world, folder.path(), &options()).expect("open");
        let group = store.open_topic("t").expect("topic").group("g");
        let group = group.expect("group");
        let seen: Arc<Mutex<Vec<bool>>> = Arc::default();
        let into = seen.clone();
        *disk.tell.lock().expect("lock") = Some(Box::new(move |path| {
            if path == first {
                let name = format!("meanwhile-{}", into.lock().expect("lock").len());
                let made = other.create_topic(&name, &TopicOptions::default());
                into.lock().expect("lock").push(made.is_ok());
            }
        }));
        group.configure(&to("elsewhere")).expect("none is left");
        *disk.tell.lock().expect("lock") = None;
        let seen = seen.lock().expect("lock");
        assert!(
            !seen.is_empty() && seen.iter().all(|made| *made),
            "{moves_are_done}: {seen:?}"
        );
    }
}

/// As of a container's image that has a store in it: its files go where they are.
#[test]
fn p17_a_folder_that_cannot_be_renamed_is_deleted_where_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    drop(super::group_changes::prepared(folder.path()));
    let disk = Arc::new(Told {
        overlay: true,
        ..Told::default()
    });
    let store = Store::open_on(disk, folder.path(), &options()).expect("open");
    let topic = store.open_topic("t").expect("topic");
    topic.group("g").expect("group").delete().expect("delete");
    assert_eq!(topic.groups().expect("groups"), [""; 0]);
    topic.create_group("g", &Default::default()).expect("again");
    store.delete_topic("t").expect("delete");
    assert!(!folder.path().join("topics/t").exists());
    let again = store.topic("t", &TopicOptions::default()).expect("topic");
    assert_eq!(again.send(&Message::new(b"first")).expect("send").offset, 0);
}

/// Whoever dies at any event of taking a snapshot, or of deleting a topic or a group, leaves
/// nothing that is there still once the store was opened again.
#[test]
fn p17_what_is_left_at_any_event_is_gone_once_the_store_was_opened_again() {
    for what in ["snapshot", "group", "topic"] {
        let twin = Twin::new();
        let scene = Scene::on(&twin, 2, GroupOptions::default());
        scene.send(0, 2);
        let group = scene.group();
        group.snapshot("first").expect("snapshot");
        let images: Arc<Mutex<Vec<Twin>>> = Arc::default();
        let (into, seed) = (images.clone(), AtomicU64::new(1));
        twin.watch(Some(Arc::new(move |twin: &Twin, event| {
            if event == Event::Stored && what != "snapshot" {
                return;
            }
            let mut into = into.lock().expect("lock");
            into.push(twin.all_die().expect("image"));
            for _ in 0..2 {
                let seed = seed.fetch_add(1, Ordering::SeqCst);
                into.push(twin.power_loss(seed).expect("image"));
            }
            into.iter().for_each(Twin::forget_versions);
        })));
        match what {
            "snapshot" => drop(group.snapshot("s").expect("snapshot")),
            "group" => group.delete().expect("delete"),
            _ => scene.store.delete_topic("t").expect("delete"),
        }
        twin.watch(None);
        let images = std::mem::take(&mut *images.lock().expect("lock"));
        assert!(images.len() > 20, "{what}: {}", images.len());
        let (mut kept, mut gone, mut left) = (0, 0, 0);
        for image in &images {
            left += put_away(image, Path::new(ROOT));
            let other = Other::on(image);
            assert_eq!(put_away(image, Path::new(ROOT)), 0, "{what}");
            let topics = other.0.topics().expect("topics");
            let group = match topics.is_empty() {
                true => None,
                false => other.0.open_topic("t").expect("topic").group("g").ok(),
            };
            match &group {
                Some(group) => {
                    kept += 1;
                    let there = group.snapshots().expect("list");
                    assert!(there.iter().all(|one| one.whole), "{what}: {there:?}");
                }
                None => gone += 1,
            }
            assert_eq!(put_away(image, Path::new(ROOT)), 0, "{what}");
            let groups = Path::new("/store/topics/t/groups");
            let inside = image.list(&groups.join("g")).unwrap_or_default();
            let strays: Vec<_> = inside.iter().filter(|name| name.starts_with('.')).collect();
            assert!(strays.is_empty(), "{what}: {strays:?}");
            // And it can be made anew.
            let topic = other.0.topic("t", &TopicOptions::default());
            if what == "topic" && group.is_none() {
                let payloads = super::transactions::payloads(&topic.expect("topic"));
                assert!(payloads.is_empty(), "{payloads:?}");
            }
        }
        match what {
            "snapshot" => assert_eq!(gone, 0),
            _ => assert!(
                kept > 2 && gone > 5 && left > 5,
                "{what}: {kept} {gone} {left}"
            ),
        }
    }
}

/// What an import that died left may be much.
#[test]
fn p17_while_what_a_dead_import_left_is_removed_others_create() {
    let twin = Twin::new();
    let scene = Scene::on(&twin, 1, GroupOptions::default());
    let mut bytes = Vec::new();
    (scene.store)
        .export(&[], &mut bytes, &mut |_, _| Ok(()))
        .expect("export");
    drop(scene);
    remove_all(&twin, Path::new(ROOT)).expect("remove");
    let other = Other::on(&twin);
    let store = Other::on(&twin);
    let left = Path::new(ROOT).join(names::being_imported(7));
    for folder in [&left, &left.join("store")] {
        twin.create_dir(folder, 0o770).expect("folder");
    }
    for number in 0..40 {
        let path = left.join("store").join(format!("{number}.log"));
        twin.open(&path, Access::CreateNew, 0o660).expect("file");
    }
    let watched = twin.clone();
    let at = move |_, event| event == Event::Named && put_away(&watched, Path::new(ROOT)) > 0;
    let seen = at_events(&twin, &other, at, || {
        let options = crate::store::ImportOptions::default();
        let done = store
            .0
            .import(&mut &bytes[..], &options, &mut |_, _| Ok(()));
        done.expect("import");
    });
    let held = seen.iter().filter(|one| !one.1).count();
    assert!(seen.len() >= 40 && held <= 2, "{seen:?}");
    assert_eq!(put_away(&twin, Path::new(ROOT)), 0);
}
