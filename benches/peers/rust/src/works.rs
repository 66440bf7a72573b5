//! The works, and what one producer and one consumer of them does between barrier and end.

use std::time::{Duration, Instant};

use crate::link::{Link, Order, Report, Say};
use crate::peer::{Outcome, Peer, Setup};
use crate::tally::{LEAST, Tally, now_ns, percentiles, read, stamp};

/// A consumer that waited so long asks whether there is more to come.
const IDLE: Duration = Duration::from_millis(100);
/// So many messages are preloaded at once.
const LOAD: usize = 100;
/// A sleep may last so much longer; the rest up to the next message is spun.
const OVERSLEPT: Duration = Duration::from_micros(60);

/// One work: its name, its usual producers, consumers and batch.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) senders: usize,
    pub(crate) consumers: usize,
    pub(crate) batch: usize,
    /// The messages are there before the clock runs.
    pub(crate) preloaded: bool,
    /// Every send is synced.
    pub(crate) sync: bool,
}

pub(crate) const WORKS: [Work; 7] = [
    work("W1", 1, 0, 1),
    work("W2", 1, 0, 100),
    Work {
        sync: true,
        ..work("W3", 1, 0, 1)
    },
    Work {
        preloaded: true,
        ..work("W4", 0, 1, 100)
    },
    work("W5", 1, 1, 100),
    Work {
        preloaded: true,
        ..work("W6", 0, 4, 100)
    },
    work("W7", 4, 4, 100),
];

const fn work(name: &'static str, senders: usize, consumers: usize, batch: usize) -> Work {
    Work {
        name,
        senders,
        consumers,
        batch,
        preloaded: false,
        sync: false,
    }
}

/// A run, as every process of it knows it.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) peer: &'static dyn Peer,
    pub(crate) work: &'static Work,
    pub(crate) setup: Setup,
    pub(crate) senders: usize,
    pub(crate) consumers: usize,
    /// Messages a second of each producer; 0 for as fast as it goes.
    pub(crate) rate: u32,
}

/// A part in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The producer of this place.
    Sender(usize),
    Consumer,
    /// Sends everything before the clock runs.
    Loader,
    /// Reads back what the peer holds.
    Reader,
}

/// Does it; what it has to say goes over the link.
pub(crate) fn act(plan: &Plan, role: Role, link: &mut dyn Link) -> Outcome<()> {
    let report = match role {
        Role::Sender(place) => send(plan, place, link)?,
        Role::Consumer => consume(plan, link)?,
        Role::Loader => load(plan)?,
        Role::Reader => Report::of(Tally {
            count: plan.peer.held(&plan.setup)?,
            sum: 0,
        }),
    };
    link.say(Say::Done(report))
}

/// The numbers of the messages that the producer of this place sends.
fn share(plan: &Plan, place: usize) -> std::ops::Range<u64> {
    let (count, senders) = (plan.setup.count, plan.senders);
    let from = |place: usize| (count / senders * place + place.min(count % senders)) as u64;
    from(place)..from(place + 1)
}

fn send(plan: &Plan, place: usize, link: &mut dyn Link) -> Outcome<Report> {
    let mut sender = plan.peer.sender(&plan.setup)?;
    // With consumers beside them, producers send one by one: the batch is the consumers'.
    let batch = if plan.consumers > 0 {
        1
    } else {
        plan.setup.batch
    };
    let mut messages = Messages::new(plan.setup.size, batch);
    let (numbers, mut sent) = (share(plan, place), Tally::default());
    link.say(Say::Ready)?;
    link.hear()?;
    let (began, first) = (Instant::now(), numbers.start);
    if batch == 1 {
        for number in numbers {
            pace(began, number - first, plan.rate);
            sender.send(messages.one(number))?;
            sent.add(number);
        }
    } else {
        for start in numbers.clone().step_by(batch) {
            let end = numbers.end.min(start + batch as u64);
            sender.send_batch(&messages.many(start..end))?;
            (start..end).for_each(|number| sent.add(number));
        }
    }
    sender.finish()?;
    Ok(Report::of(sent))
}

/// Waits until it is time for the message of this place.
fn pace(began: Instant, place: u64, rate: u32) {
    if rate == 0 {
        return;
    }
    let due = Duration::from_secs_f64(place as f64 / f64::from(rate));
    while let Some(left) = due.checked_sub(began.elapsed()) {
        if left > OVERSLEPT {
            std::thread::sleep(left - OVERSLEPT);
        } else {
            std::hint::spin_loop();
        }
    }
}

fn load(plan: &Plan) -> Outcome<Report> {
    let mut sender = plan.peer.sender(&plan.setup)?;
    let mut messages = Messages::new(plan.setup.size, LOAD);
    let count = plan.setup.count as u64;
    for start in (0..count).step_by(LOAD) {
        sender.send_batch(&messages.many(start..count.min(start + LOAD as u64)))?;
    }
    sender.finish()?;
    Ok(Report::of(Tally::of_first(count)))
}

fn consume(plan: &Plan, link: &mut dyn Link) -> Outcome<Report> {
    let mut consumer = plan.peer.consumer(&plan.setup)?;
    let paced = plan.rate > 0;
    let mut waits = Vec::with_capacity(if paced { plan.setup.count } else { 0 });
    let (mut came, mut strange, mut end) = (Tally::default(), 0_u64, 0);
    link.say(Say::Ready)?;
    link.hear()?;
    loop {
        let took = consumer.take(plan.setup.batch, IDLE, &mut |payload| match read(payload) {
            Some((number, sent)) if payload.len() == plan.setup.size => {
                came.add(number);
                if paced {
                    waits.push(now_ns().saturating_sub(sent));
                }
            }
            _ => strange += 1,
        })?;
        if strange > 0 {
            let size = plan.setup.size;
            return Err(format!("{strange} messages came that are not of {size} bytes").into());
        }
        if took > 0 {
            end = now_ns();
            continue;
        }
        link.say(Say::Idle(came.count))?;
        if link.hear()? == Order::End {
            break;
        }
    }
    Ok(Report {
        tally: came,
        end,
        waits: percentiles(&mut waits),
    })
}

/// Room for the messages of a batch, whose heads change from one batch to the next.
struct Messages {
    bytes: Vec<u8>,
    size: usize,
}

impl Messages {
    fn new(size: usize, batch: usize) -> Messages {
        debug_assert!(size >= LEAST);
        Messages {
            bytes: vec![b'x'; size * batch],
            size,
        }
    }

    fn one(&mut self, number: u64) -> &[u8] {
        let message = &mut self.bytes[..self.size];
        stamp(message, number, now_ns());
        message
    }

    fn many(&mut self, numbers: std::ops::Range<u64>) -> Vec<&[u8]> {
        let now = now_ns();
        self.bytes
            .chunks_exact_mut(self.size)
            .zip(numbers)
            .map(|(message, number)| {
                stamp(message, number, now);
                &*message
            })
            .collect()
    }
}
