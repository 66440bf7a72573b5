//! Retention while somebody writes the ledgers of what is about to go (P8, P15, P17).

use std::sync::atomic::Ordering;

use super::*;
use crate::TopicOptions;
use crate::format::control::block::RETAIN_LOCK;
use crate::format::control::sent::SLOW_LOCK;
use crate::options::DedupWindow;
use crate::shm::OwnerLock;
use crate::store::{ConsumerOptions, Message, Receipt};

const WAITERS: u32 = 1 << 31;

/// Who deletes the topic waits for RETAIN_LOCK.
#[test]
fn p15_p17_retention_waits_for_a_ledgers_writer_with_no_lock_that_others_wait_for() {
    for of_producer in [false, true] {
        let folder = tempfile::tempdir().expect("folder");
        let quiet = World {
            housekeeping: false,
            ..world()
        };
        let open = || Store::open_in(&quiet, folder.path(), &options()).expect("open");
        let (store, stopped) = (open(), open());
        let with_ids = TopicOptions {
            dedup_window: Some(DedupWindow::Time(Duration::from_secs(3600))),
            ..TopicOptions::default()
        };
        let topic = store.topic("t", &with_ids).expect("topic");
        let worker = topic.consumer("g", &ConsumerOptions::default());
        let worker = worker.expect("consumer");
        let till = topic.producer("till").expect("producer");
        let first = topic
            .send(&Message::new(b"a").dedup_id(b"a"))
            .expect("send");
        till.send(&Message::new(b"b"), None).expect("send");
        let got = worker.receive(2, Some(BOUND)).expect("receive");
        let receipts: Vec<Receipt> = got.iter().map(|one| one.receipt()).collect();
        worker.ack(&receipts).expect("ack");
        let head = &topic.inner.block.head;
        let slow = match of_producer {
            true => till.slow_lock_in_test(),
            false => head.word32(SLOW_LOCK),
        };
        let env = &stopped.inner().expect("open").env;
        let (held, _) = OwnerLock::hold(slow, env.me, &*env.live, BOUND).expect("free");
        std::thread::scope(|scope| {
            let retains = scope.spawn(|| topic.retain_all_now());
            until("it waits", || slow.load(Ordering::SeqCst) & WAITERS != 0);
            assert!(OwnerLock::is_free(head.word32(RETAIN_LOCK)));
            // Who makes a ledger anew goes by what is in the log.
            assert_eq!(topic.first_kept(0), 0, "hidden before the ledger knows it");
            drop(held);
            retains.join().expect("thread").expect("retained");
        });
        assert!(topic.first_kept(0) > first.offset, "it is gone");
        let again = topic.send(&Message::new(b"a").dedup_id(b"a"));
        assert_eq!(again.expect("known"), first);
        assert_eq!(till.last_sequence().expect("known"), 1);
    }
}
