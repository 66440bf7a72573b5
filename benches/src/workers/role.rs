//! The roles in Rust.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use libqueue::{
    Consumer, ConsumerOptions, Delivery, Durability, Message, ReaderOptions, Receipt, Start, Store,
    StoreOptions, Topic, TopicOptions,
};
use rustix::event::{PollFd, PollFlags, poll};

use super::bench::{TOPIC, numbered};
use super::{NUMBER, Pace, Said, Sum, now_ns};
use crate::Outcome;

/// How long one who sleeps does so before it looks whether its input has ended.
const LOOK: Duration = Duration::from_millis(20);
/// After so many empty looks one who spins does.
const LOOKS: u32 = 10_000;
/// Nothing came for so long: something is wrong.
const LONG: Duration = Duration::from_secs(60);

/// A worker; see the module above for its arguments.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let said = match args[..] {
        ["send", store, durability, size, count, batch, pace] => {
            let how = (size.parse()?, count.parse()?, batch.parse()?);
            send(store, durability, how, pace.parse()?)?
        }
        ["receive", store, group, size, count, batch, how, waits] => {
            let spins = how == "spin";
            let receiver = Receiver::new(size.parse()?, count.parse()?, batch.parse()?, spins);
            receive(store, group, receiver, waits)?
        }
        ["read", store, size] => read(store, size.parse()?)?,
        _ => return Err(format!("no such role: {args:?}").into()),
    };
    let Sum { count, sum, bytes } = said.sum;
    println!("{count} {sum} {bytes} {} {}", said.began, said.ended);
    Ok(())
}

/// Says that all is open, and waits for the word.
fn wait() -> Outcome<u64> {
    println!("ready");
    std::io::stdout().flush()?;
    std::io::stdin().read_exact(&mut [0])?;
    Ok(now_ns())
}

fn open(path: &str, durability: Durability) -> Outcome<(Store, Topic)> {
    let options = StoreOptions {
        durability,
        ..StoreOptions::default()
    };
    let store = Store::open(Path::new(path), options)?;
    let topic = store.topic(TOPIC, &TopicOptions::default())?;
    Ok((store, topic))
}

fn send(
    path: &str,
    durability: &str,
    (size, count, batch): (usize, usize, usize),
    pace: u32,
) -> Outcome<Said> {
    let durability = match durability {
        "sync" => Durability::Sync,
        _ => Durability::Process,
    };
    let (store, topic) = open(path, durability)?;
    let mut pace = Pace::of(pace);
    let mut payloads: Vec<Vec<u8>> = (0..batch).map(|_| numbered(size, 0)).collect();
    let (began, mut sum) = (wait()?, Sum::default());
    if batch == 1 {
        let payload = &mut payloads[0];
        for number in 0..count as u64 {
            payload[..NUMBER].copy_from_slice(&number.to_le_bytes());
            if pace.a_second > 0 {
                pace.wait();
                payload[NUMBER..2 * NUMBER].copy_from_slice(&now_ns().to_le_bytes());
            }
            sum.add(payload);
            topic.send(&Message::new(payload))?;
        }
    } else {
        for first in (0..count).step_by(batch) {
            for (at, payload) in payloads.iter_mut().enumerate() {
                payload[..NUMBER].copy_from_slice(&((first + at) as u64).to_le_bytes());
                sum.add(payload);
            }
            let messages: Vec<Message<'_>> = payloads.iter().map(|one| Message::new(one)).collect();
            topic.send_many(&messages)?;
        }
    }
    let ended = now_ns();
    drop(topic);
    store.close()?;
    Ok(Said { sum, began, ended })
}

/// What one who receives wants, and what came so far.
struct Receiver {
    size: usize,
    /// 0: until its input ends.
    count: u64,
    batch: usize,
    spins: bool,
    sum: Sum,
    /// How long each was on its way, where that is wanted.
    waits: Vec<u64>,
    ended: u64,
}

impl Receiver {
    fn new(size: usize, count: u64, batch: usize, spins: bool) -> Self {
        Self {
            size,
            count,
            batch,
            spins,
            sum: Sum::default(),
            waits: Vec::new(),
            ended: 0,
        }
    }

    /// Until all came that was wanted.
    fn run(&mut self, consumer: &Consumer, timed: bool) -> Outcome<()> {
        let timeout = Some(if self.spins { Duration::ZERO } else { LOOK });
        let (mut empty, mut since) = (0_u32, Instant::now());
        let mut receipts = Vec::with_capacity(self.batch);
        while self.count == 0 || self.sum.count < self.count {
            let deliveries = consumer.receive(self.batch, timeout)?;
            if deliveries.is_empty() {
                empty += 1;
                if self.spins && !empty.is_multiple_of(LOOKS) {
                    std::hint::spin_loop();
                    continue;
                }
                if self.count == 0 && has_ended()? {
                    break;
                }
                if since.elapsed() > LONG {
                    return Err(format!("nothing came after {:?}", self.sum).into());
                }
                continue;
            }
            if empty > 0 {
                (empty, since) = (0, Instant::now());
            }
            self.take(&deliveries, timed)?;
            receipts.clear();
            receipts.extend(deliveries.iter().map(|one| one.receipt()));
            ack(consumer, &receipts)?;
            if self.count == 0 {
                self.ended = now_ns();
            }
        }
        if self.count > 0 {
            self.ended = now_ns();
        }
        Ok(())
    }

    fn take(&mut self, deliveries: &[Delivery], timed: bool) -> Outcome<()> {
        let now = if timed { now_ns() } else { 0 };
        for delivery in deliveries {
            let payload = delivery.payload();
            if payload.len() != self.size {
                return Err(format!("{} bytes came, expected {}", payload.len(), self.size).into());
            }
            self.sum.add(payload);
            if timed {
                let sent = payload[NUMBER..].first_chunk().ok_or("no send time")?;
                self.waits
                    .push(now.saturating_sub(u64::from_le_bytes(*sent)));
            }
        }
        Ok(())
    }
}

fn ack(consumer: &Consumer, receipts: &[Receipt]) -> Outcome<()> {
    Ok(consumer.ack(receipts)?)
}

/// Whether standard input has: nothing more comes.
fn has_ended() -> Outcome<bool> {
    let input = std::io::stdin();
    let mut wanted = [PollFd::new(&input, PollFlags::IN)];
    let now = rustix::time::Timespec::default();
    Ok(poll(&mut wanted, Some(&now))? > 0)
}

fn receive(path: &str, group: &str, mut receiver: Receiver, waits: &str) -> Outcome<Said> {
    let (store, topic) = open(path, Durability::Process)?;
    let consumer = topic.consumer(group, &ConsumerOptions::default())?;
    let timed = waits != "-";
    let began = wait()?;
    receiver.ended = began;
    receiver.run(&consumer, timed)?;
    if timed {
        let mut file = BufWriter::new(File::create(waits)?);
        for wait in &receiver.waits {
            file.write_all(&wait.to_le_bytes())?;
        }
        file.flush()?;
    }
    consumer.close()?;
    drop((consumer, topic));
    store.close()?;
    let (sum, ended) = (receiver.sum, receiver.ended);
    Ok(Said { sum, began, ended })
}

fn read(path: &str, size: usize) -> Outcome<Said> {
    let (store, topic) = open(path, Durability::Process)?;
    let mut reader = topic.reader(&ReaderOptions {
        start: Start::Earliest,
        ..ReaderOptions::default()
    })?;
    let (began, mut sum) = (wait()?, Sum::default());
    loop {
        let some = reader.receive(crate::scale::BATCH, Some(Duration::ZERO))?;
        if some.is_empty() {
            break;
        }
        some.iter().for_each(|one| sum.add(one.payload()));
    }
    let ended = now_ns();
    if sum.bytes != sum.count * size as u64 {
        return Err(format!("messages of {size} bytes were expected, {sum:?} came").into());
    }
    drop((reader, topic));
    store.close()?;
    Ok(Said { sum, began, ended })
}
