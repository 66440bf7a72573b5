//! A window that another process changes while ids are known by it (P8).

use super::dedup::{clock, store_on, with_window};
use super::*;
use crate::options::DedupWindow;
use crate::store::{Message, MessageId};

const SHORT: DedupWindow = DedupWindow::Time(Duration::from_secs(10));
const HOUR: DedupWindow = DedupWindow::Time(Duration::from_secs(3600));

/// So many that they fill more than one table.
fn many(topic: &Topic) -> Vec<MessageId> {
    let ids: Vec<String> = (0..3000).map(|id| id.to_string()).collect();
    let of = |id: &'_ String| -> MessageId {
        let message = Message::new(b"").dedup_id(id.as_bytes());
        topic.send(&message).expect("send")
    };
    ids.iter().map(of).collect()
}

#[test]
fn p8_who_keeps_house_and_sends_nothing_goes_by_the_window_that_others_configured() {
    let (twin, clock) = (Twin::new(), clock());
    twin.forget_versions();
    let (keeps, sends) = (store_on(&twin, &clock), store_on(&twin, &clock));
    let topic = keeps.topic("t", &with_window(SHORT)).expect("topic");
    let first = many(&topic);
    let look = || keeps.inner().expect("open").look_around();
    look();
    clock.advance_ms(9_000);
    let beside = sends.open_topic("t").expect("topic");
    beside.configure(&with_window(HOUR)).expect("configure");
    clock.advance_ms(60_000);
    (0..9).for_each(|_| look());
    assert_eq!(many(&beside), first, "an hour is not over");
    assert_eq!(many(&topic), first, "nor is it for the other one");
    // What had been looked at when it was longer is looked at again.
    let shorter = with_window(DedupWindow::Time(Duration::from_secs(60)));
    beside.configure(&shorter).expect("configure");
    (0..9).for_each(|_| look());
    assert_ne!(many(&beside), first, "they are over");
}
