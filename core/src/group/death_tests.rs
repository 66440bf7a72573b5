//! A death at every store of what ends or moves a message, and what the next holder of the lock
//! makes of it.
//!
//! Whatever the one who died had done of it, each message is as it was before or as it was to be:
//! none is stuck, none comes before its time or before an earlier one of its key, and none has
//! failed more often than it was handed out.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::model::{BEGIN, at, fresh, open, policy};
use super::*;
use crate::format::window::{header, state};
use crate::log::Cursor;
use crate::storage::{Event, Twin};

const COUNT: u64 = 8;
/// When it is done: after the lease of 0, before that of 7, and before 3, which waits, comes back.
const NOW: Now = at(200);
const DUE: [u64; 2] = [150, 1_000];
const BACK: u64 = 500;
/// Of the message that was sent with a time, by the wall clock.
const SCHEDULED: u64 = 5_001;
/// Long after all of it is over.
const LATE: u64 = 400_000;

/// Messages 0 to 2 of one key, 0 leased, its time over; 3 waits after a failure; 4, of a key with
/// 5, waits for the time that it was sent with; 5 is ready, 6 too, without a key; 7 is leased.
fn window(twin: &Twin) -> Window {
    let policy = policy(true);
    let mut window = open(twin);
    window.rebuild(Life::New, BEGIN, &mut |_, _| true);
    let keys = [
        Some(7),
        Some(7),
        Some(7),
        None,
        Some(8),
        Some(8),
        None,
        None,
    ];
    for (offset, key) in (0..COUNT).zip(keys) {
        let mut message = fresh(offset, key);
        message.attributes.deliver_at_ms = (offset == 4).then_some(SCHEDULED as i64);
        let admitted = window.admit(&policy, &message, BEGIN);
        window.set_cursor(Cursor::at_offset(offset + 1));
        let Admit::Ready(index) = admitted else {
            continue;
        };
        match offset {
            0 | 7 => {
                window.lease(index, DUE[usize::from(offset == 7)], 3, 1);
            }
            3 => {
                window.lease(index, 1_000, 3, 1);
                window.nack(&policy, (3, 1), Some(BACK), 0, 1);
            }
            _ => window.make_ready(index),
        }
    }
    window
}

/// What is done to a message, and which one.
type Deed = (&'static str, fn(&mut Window, u64));

const DEEDS: [Deed; 11] = [
    ("acknowledged at once", |window, offset| {
        let mut settling = window.settling();
        settling.ack(offset, 1);
        settling.ack(7, 1);
        settling.end();
    }),
    ("settled by hand", |window, offset| {
        window.settle_by_hand(offset);
    }),
    ("delayed by hand", |window, offset| {
        window.delay_by_hand(offset, 300_000, NOW);
    }),
    ("hurried by hand", |window, offset| {
        window.delay_by_hand(offset, 0, NOW);
    }),
    ("given up by hand", |window, offset| {
        window.give_up_by_hand(offset, NOW.boot_ms, NOW.wall_ms);
    }),
    ("given up", |window, offset| {
        window.give_up(offset, 1, NOW.boot_ms, NOW.wall_ms);
    }),
    ("failed for the last time", |window, offset| {
        let mut policy = policy(true);
        policy.max_attempts = 1;
        window.nack(&policy, (offset, 1), None, NOW.boot_ms, NOW.wall_ms);
    }),
    ("expired for the last time", |window, _| {
        let mut policy = policy(true);
        policy.max_attempts = 1;
        window.expire(&policy, NOW);
    }),
    ("made a letter by retention", |window, offset| {
        window.end_taken(offset, Fate::Dead, NOW);
    }),
    ("taken by retention", |window, offset| {
        window.end_taken(offset, Fate::Lost, NOW);
    }),
    ("dropped", |window, offset| {
        window.drop_open(offset);
    }),
];

/// Does it, and dies at this store, from 1 on; whether there was one.
pub(super) fn dies(twin: &Twin, store: usize, work: impl FnOnce()) -> bool {
    let left = AtomicUsize::new(store);
    twin.watch(Some(Arc::new(move |_: &Twin, event| {
        if event == Event::Stored && left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // Not a panic, of which there would be a word for each.
            resume_unwind(Box::new(()));
        }
    })));
    let died = catch_unwind(AssertUnwindSafe(work)).is_err();
    twin.watch(None);
    died
}

/// All that comes of the window from then on: each message with the time at which it was handed
/// out, its failures and its attempts.
fn rest(window: &Window) -> Vec<(u64, u64, u32, u32)> {
    let (policy, mut found) = (policy(true), Vec::new());
    for now in [NOW.boot_ms, BACK, DUE[1], SCHEDULED - 2, SCHEDULED, LATE] {
        window.expire(&policy, at(now));
        loop {
            let dying: Vec<u64> = window.dying(|_, _| true).iter().map(|d| d.offset).collect();
            window.settle_dead(&policy, &dying);
            let Some(took) = window.take_ready(LATE * 2, 9, 2) else {
                break;
            };
            let failures = window.seen(took.offset).failures;
            found.push((took.offset, now, failures, took.attempt));
            assert_eq!(window.ack(took.offset, took.attempt), Settled::Done);
        }
    }
    found
}

#[test]
fn p6_p9_p11_p17_a_death_at_any_store_leaves_each_message_as_it_was_or_as_it_was_to_be() {
    let mut deaths = 0;
    for (what, deed) in DEEDS {
        for offset in 0..COUNT {
            let mut store = 1;
            loop {
                let twin = Twin::new();
                let mut window = window(&twin);
                let died = dies(&twin, store, || deed(&mut window, offset));
                drop(window);
                let place = format!("{offset} {what}, dead at store {store}");
                let mut window = open(&twin);
                window.check_span().expect("whole");
                window.rebuild(Life::Same, NOW, &mut |_, _| true);
                let open = |offset| window.seen(offset).state;
                let was = open(offset);
                let found = rest(&window);
                assert_eq!(window.floor(), COUNT, "{place}: one is stuck, {found:?}");
                let mut last = [None; 2];
                for (one, now, failures, attempts) in &found {
                    let (one, now) = (*one, *now);
                    let moved = one == offset;
                    let hurried = moved && what == "hurried by hand";
                    let least = match one {
                        _ if hurried => 0,
                        3 => BACK,
                        4 => SCHEDULED - 1,
                        7 => DUE[1],
                        _ => 0,
                    };
                    // One that is taken from its consumer by hand may come at once.
                    let by_hand = moved && one == 7 && what.ends_with("by hand");
                    assert!(
                        now >= least || by_hand,
                        "{place}: {one} came at {now}, before its time"
                    );
                    assert!(
                        failures < attempts,
                        "{place}: {one} failed {failures} of {attempts}"
                    );
                    let back = matches!(was, state::DELAYED | state::READY);
                    assert!(!(by_hand && back) || *failures == 0, "{place}: charged");
                    let key = match one {
                        0..=2 => 0,
                        // 4 joins behind 5 when it falls due, or is hurried.
                        4 | 5 => 1,
                        _ => continue,
                    };
                    let turn = if key == 1 { 9 - one } else { one };
                    assert!(
                        last[key] < Some(turn),
                        "{place}: {one} passes its key, {found:?}"
                    );
                    last[key] = Some(turn);
                }
                if matches!(was, state::DYING | state::SETTLED) {
                    assert!(
                        !found.iter().any(|one| one.0 == offset),
                        "{place}: it came again"
                    );
                }
                if !died {
                    break;
                }
                deaths += 1;
                store += 1;
            }
        }
    }
    assert!(deaths > 300, "{deaths} deaths");
}

#[test]
fn p6_p9_p17_a_death_at_any_store_of_a_run_leaves_its_messages_to_be_taken_in_or_leased() {
    let (hand, end) = (
        Hand {
            due_ms: DUE[1],
            consumer: 3,
            batch: 2,
            begun: false,
        },
        COUNT + 4,
    );
    for store in 1.. {
        let twin = Twin::new();
        let window = window(&twin);
        let died = dies(&twin, store, || {
            let mut run = window.run(&policy(true), hand).expect("nothing against it");
            for offset in COUNT..end {
                run.take(offset, offset * 8, false).expect("there is room");
            }
            run.end(Cursor::at_offset(end));
        });
        drop(window);
        let place = format!("dead at store {store}");
        let mut window = open(&twin);
        window.check_span().expect("whole");
        window.rebuild(Life::Same, NOW, &mut |_, _| true);
        let next = window.next();
        assert!([COUNT, end].contains(&next), "{place}: it ends at {next}");
        // Two were leased before.
        assert_eq!(window.counter(Counter::Leased), 2 + next - COUNT, "{place}");
        for offset in next..end {
            let admitted = window.admit(&policy(true), &fresh(offset, None), NOW);
            window.set_cursor(Cursor::at_offset(offset + 1));
            match admitted {
                Admit::Ready(index) => window.make_ready(index),
                other => panic!("{place}: {other:?}"),
            }
        }
        let found = rest(&window);
        assert_eq!(window.floor(), end, "{place}: one is stuck, {found:?}");
        for offset in COUNT..end {
            let came = found.iter().filter(|one| one.0 == offset);
            let attempts: Vec<u32> = came.map(|one| one.3).collect();
            let attempt = 1 + u32::from(next == end);
            assert_eq!(attempts, [attempt], "{place}: {offset}");
        }
        if !died {
            return assert!(store > 40, "{store} stores");
        }
    }
}

/// What counts the ends of messages, and what ends the one at 7.
type End = (Counter, fn(&Window));

#[test]
fn p15_p17_the_end_of_a_message_is_counted_once_wherever_who_ends_it_dies() {
    let ends: [End; 5] = [
        (Counter::Acked, |window| _ = window.ack(7, 1)),
        (Counter::Acked, |window| {
            let mut settling = window.settling();
            settling.ack(7, 1);
            settling.end();
        }),
        (Counter::Damaged, |window| _ = window.settle_damaged(7, 1)),
        (Counter::Expired, |window| {
            window.settle_expired(&policy(true), 7, 1, NOW);
        }),
        (Counter::Dropped, |window| _ = window.drop_open(7)),
    ];
    for (counter, end) in ends {
        for store in 1.. {
            let twin = Twin::new();
            let window = window(&twin);
            let died = dies(&twin, store, || end(&window));
            drop(window);
            let mut window = open(&twin);
            window.rebuild(Life::Same, NOW, &mut |_, _| true);
            let (counted, open) = (window.counter(counter), window.is_unsettled(7));
            assert!(counted == 0 || !open, "{counter:?}, dead at store {store}");
            if !died {
                assert_eq!((counted, open), (1, false));
                break;
            }
        }
    }
}

#[test]
fn p15_p17_one_that_comes_too_late_is_counted_once_wherever_who_takes_it_in_dies() {
    let mut late = fresh(COUNT, None);
    late.attributes.expires_at_ms = Some(1);
    for expired_die in [false, true] {
        let mut policy = policy(true);
        policy.expired_die = expired_die;
        for store in 1.. {
            let twin = Twin::new();
            let window = window(&twin);
            let died = dies(&twin, store, || {
                assert_eq!(window.admit(&policy, &late, NOW), Admit::Expired);
                window.set_cursor(Cursor::at_offset(COUNT + 1));
                window.expired_at_end();
            });
            drop(window);
            let mut window = open(&twin);
            window.rebuild(Life::Same, NOW, &mut |_, _| true);
            let (counted, taken) = (window.counter(Counter::Expired), window.next() > COUNT);
            assert!(counted == 0 || taken, "dead at store {store}");
            assert_eq!(window.is_dying(COUNT), taken && expired_die);
            if !died {
                assert_eq!((counted, taken), (1, true));
                break;
            }
        }
    }
}

#[test]
fn p12_one_that_is_given_up_late_or_by_hand_fails_no_more_often_than_it_was_handed_out() {
    let failed = |give_up: fn(&Window), offset| {
        let window = window(&Twin::new());
        window.expire(&policy(true), NOW);
        give_up(&window);
        let dying = window.dying(|_, _| true);
        assert_eq!(dying.len(), 1);
        assert_eq!(dying[0].offset, offset);
        let counted = window.counter(Counter::Failed);
        (dying[0].failures, dying[0].attempts, counted)
    };
    // 3 was nacked, and the lease of 0 ran out: two failures are counted.
    let late = |window: &Window| _ = window.give_up(0, 1, NOW.boot_ms, NOW.wall_ms);
    assert_eq!(failed(late, 0), (1, 1, 2), "late");
    let leased = |window: &Window| _ = window.give_up(7, 1, NOW.boot_ms, NOW.wall_ms);
    assert_eq!(failed(leased, 7), (1, 1, 3), "in its time");
    let by_hand = |window: &Window| _ = window.give_up_by_hand(7, NOW.boot_ms, NOW.wall_ms);
    assert_eq!(failed(by_hand, 7), (1, 1, 3), "in somebody's hands");
    let waits = |window: &Window| _ = window.give_up_by_hand(3, NOW.boot_ms, NOW.wall_ms);
    assert_eq!(failed(waits, 3), (1, 1, 2), "failed before");
    let never = |window: &Window| _ = window.give_up_by_hand(6, NOW.boot_ms, NOW.wall_ms);
    assert_eq!(failed(never, 6), (0, 0, 2), "never handed out");
}

#[test]
fn p14_nobody_finds_less_open_while_messages_are_handed_out_at_once() {
    let twin = Twin::new();
    let window = window(&twin);
    let glance = window.glance();
    // As who looks without the lock does: the window's end first, then the counts.
    let open = move || COUNT + 4 - glance.head.get(header::NEXT) + glance.seen().open();
    let (before, least) = (open(), Arc::new(AtomicU64::new(u64::MAX)));
    let found = least.clone();
    twin.watch(Some(Arc::new(move |_: &Twin, event| {
        if event == Event::Stored {
            found.fetch_min(open(), Ordering::SeqCst);
        }
    })));
    let hand = Hand {
        due_ms: DUE[1],
        consumer: 3,
        batch: 2,
        begun: false,
    };
    let mut run = window.run(&policy(true), hand).expect("nothing against it");
    for offset in COUNT..COUNT + 4 {
        run.take(offset, offset * 8, false).expect("there is room");
    }
    run.end(Cursor::at_offset(COUNT + 4));
    twin.watch(None);
    assert_eq!(least.load(Ordering::SeqCst), before);
}

#[test]
fn p17_p19_nobody_finds_less_open_while_all_is_counted_again() {
    let twin = Twin::new();
    let mut window = window(&twin);
    let (glance, least) = (window.glance(), Arc::new(AtomicU64::new(u64::MAX)));
    assert_eq!(glance.seen().open(), COUNT);
    let found = least.clone();
    twin.watch(Some(Arc::new(move |_: &Twin, event| {
        if event == Event::Stored {
            found.fetch_min(glance.seen().open(), Ordering::SeqCst);
        }
    })));
    window.rebuild(Life::Same, NOW, &mut |_, _| true);
    twin.watch(None);
    assert_eq!(least.load(Ordering::SeqCst), COUNT);
}
