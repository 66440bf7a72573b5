//! What transactions do to a window, beside the model.

use super::model::{Dice, Model, State};
use super::policy::Now;
use super::settle::Settled;
use super::window::Window;

/// A transaction marks some of what was handed out, or what was marked is settled, or left by one
/// that died; P8 and P9 hold.
pub(super) fn transact(
    window: &Window,
    model: &mut Model,
    dice: &mut Dice,
    (receipts, now): (&[(u64, u32)], Now),
    place: &str,
) {
    for (offset, attempt) in receipts {
        let good = model.good(*offset, *attempt);
        if dice.next(3) > 0 {
            continue;
        }
        let marked = window.mark(*offset, *attempt, now);
        assert_eq!(marked == Settled::Done, good, "{place}: {offset} {attempt}");
        let message = model.of(*offset);
        message.state = match message.state {
            _ if !good => message.state,
            State::Leased { due, consumer } => State::Marked { due, consumer },
            _ => State::Marked {
                due: 0,
                consumer: message.held.0,
            },
        };
    }
    let all = model.messages.iter();
    let marked = all.filter(|(_, message)| matches!(message.state, State::Marked { .. }));
    let marked: Vec<(u64, u32)> = marked.map(|(at, one)| (*at, one.attempts)).collect();
    let epoch = window.epoch();
    for (offset, attempt) in marked {
        assert!(
            !window.settle_marked(offset, (attempt, epoch.wrapping_sub(1))),
            "{place}: of a time before the group was sought"
        );
        assert!(
            !window.settle_marked(offset, (attempt + 1, epoch)),
            "{place}"
        );
        match dice.next(3) {
            0 => {
                assert!(window.settle_marked(offset, (attempt, epoch)), "{place}");
                model.of(offset).state = State::Settled;
            }
            1 => {
                if dice.next(2) == 0 {
                    window.unmark(offset, (attempt, epoch), now);
                } else {
                    window.unmark_others(|at, _| at != offset, now);
                }
                let message = model.of(offset);
                message.state = match message.state {
                    State::Marked { due, consumer } if due > now.boot_ms => {
                        State::Leased { due, consumer }
                    }
                    _ => State::Waiting,
                };
            }
            _ => {}
        }
    }
}
