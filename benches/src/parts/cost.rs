//! Whether receiving and acknowledging a message costs the same whatever else there is: more
//! backlog, delayed messages, keys, consumer processes. Each row is a ratio to the base of the same
//! run; all receive one by one, since a batch would share its costs unevenly.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use libqueue::{
    Consumer, ConsumerOptions, GroupOptions, Message, Store, StoreOptions, Topic, TopicOptions,
};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

const PAYLOAD: [u8; 16] = [b'x'; 16];
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let base = best(scale, || backlog(folder, scale.cost, scale.cost))?;
    row(table, "backlog of 10^5 (the base)", base, base);
    let few = (scale.cost / 100).max(1);
    let took = best(scale, || backlog(folder, few, scale.cost))?;
    row(table, "backlog of 10^3", took, base);
    let took = best(scale, || backlog(folder, scale.cost * 100, scale.cost))?;
    row(table, "backlog of 10^7", took, base);
    let took = best(scale, || delayed(folder, scale.cost * 10, scale.cost))?;
    row(table, "beside 10^6 delayed", took, base);
    let took = best(scale, || keys(folder, scale.cost * 10, scale.cost * 10))?;
    row(table, "10^6 distinct keys", took, base);
    let took = best(scale, || hot_key(folder, scale.cost))?;
    row(table, "one key has half of them", took, base);
    processes(folder, scale, table)
}

/// Nanoseconds each, of the best round.
fn best(scale: Scale, mut round: impl FnMut() -> Outcome<f64>) -> Outcome<f64> {
    let mut least = f64::MAX;
    for _ in 0..scale.rounds.min(3) {
        least = least.min(round()?);
    }
    Ok(least)
}

fn row(table: &mut Table, what: &str, value: f64, base: f64) {
    table.push(Row {
        name: format!("receive and ack, {what}"),
        who: "Rust".into(),
        value,
        unit: "ns each",
        ratio: Some((value / base, "the base".into())),
    });
}

/// What a workload begins with.
struct Bench {
    store: Store,
    topic: Topic,
}

impl Bench {
    fn open(path: &Path) -> Outcome<Self> {
        let store = Store::open(path, StoreOptions::default())?;
        let topic = store.topic("bench", &TopicOptions::default())?;
        Ok(Self { store, topic })
    }

    /// In batches of 100; of each message what `each` says of it.
    fn send<'a>(&self, count: usize, each: impl Fn(usize, &mut Message<'a>)) -> Outcome<()> {
        for from in (0..count).step_by(100) {
            let mut batch = Vec::with_capacity(100);
            for number in from..count.min(from + 100) {
                let mut message = Message::new(&PAYLOAD);
                each(number, &mut message);
                batch.push(message);
            }
            self.topic.send_many(&batch)?;
        }
        Ok(())
    }

    fn consumer(&self, window: u32) -> Outcome<Consumer> {
        let group = GroupOptions {
            window: Some(window),
            ..GroupOptions::default()
        };
        let options = ConsumerOptions {
            group,
            ..ConsumerOptions::default()
        };
        Ok(self.topic.consumer("work", &options)?)
    }

    fn remove(self, consumer: Consumer, path: &Path) -> Outcome<()> {
        consumer.close()?;
        drop((consumer, self.topic));
        self.store.close()?;
        Ok(std::fs::remove_dir_all(path)?)
    }
}

/// Receives and acknowledges so many, one by one; how long that took.
fn consume(consumer: &Consumer, count: usize) -> Outcome<Duration> {
    let began = Instant::now();
    for seen in 0..count {
        let deliveries = consumer.receive(1, Some(Duration::from_secs(10)))?;
        let delivery = (deliveries.first()).ok_or(format!("only {seen} of {count} came"))?;
        consumer.ack(&[delivery.receipt()])?;
    }
    Ok(began.elapsed())
}

fn each(took: Duration, count: usize) -> f64 {
    took.as_nanos() as f64 / count as f64
}

/// With so many waiting, `count` of them; the topic is filled as often as that takes.
fn backlog(folder: &Path, waiting: usize, count: usize) -> Outcome<f64> {
    let path = folder.join("store");
    let bench = Bench::open(&path)?;
    let consumer = bench.consumer(65_536)?;
    let (mut took, mut seen) = (Duration::ZERO, 0);
    while seen < count {
        bench.send(waiting, |_, _| {})?;
        if waiting > count {
            // Writing back what was sent is not for these to pay.
            bench.store.sync()?;
        }
        let some = waiting.min(count - seen);
        took += consume(&consumer, some)?;
        seen += some;
    }
    bench.remove(consumer, &path)?;
    Ok(each(took, count))
}

fn delayed(folder: &Path, waiting: usize, count: usize) -> Outcome<f64> {
    let path = folder.join("store");
    let bench = Bench::open(&path)?;
    let window = (waiting + 2 * count).next_power_of_two() as u32;
    let consumer = bench.consumer(window.max(65_536))?;
    bench.send(waiting, |number, message| {
        message.delay = Some(Duration::from_secs(3600 + number as u64 % 86_400));
    })?;
    // They are taken in, and none is due.
    if !consumer.receive(1, Some(Duration::ZERO))?.is_empty() {
        return Err("a delayed message came".into());
    }
    // The window was doubled for those that wait, and is once more: not for these to pay.
    bench.send(2 * count, |_, _| {})?;
    consume(&consumer, count)?;
    let took = consume(&consumer, count)?;
    bench.remove(consumer, &path)?;
    Ok(each(took, count))
}

fn keys(folder: &Path, distinct: usize, count: usize) -> Outcome<f64> {
    let path = folder.join("store");
    let bench = Bench::open(&path)?;
    let keys: Vec<[u8; 8]> = (0..distinct as u64).map(u64::to_le_bytes).collect();
    bench.send(count, |number, message| {
        message.key = Some(&keys[number % keys.len()]);
    })?;
    let consumer = bench.consumer(65_536)?;
    let took = consume(&consumer, count)?;
    bench.remove(consumer, &path)?;
    Ok(each(took, count))
}

/// Every other message has the same key: they come one at a time, and the others past them.
fn hot_key(folder: &Path, count: usize) -> Outcome<f64> {
    let path = folder.join("store");
    let bench = Bench::open(&path)?;
    let keys: Vec<[u8; 8]> = (0..count as u64).map(u64::to_le_bytes).collect();
    bench.send(count, |number, message| {
        let even = number.is_multiple_of(2);
        message.key = Some(if even { b"hot" } else { &keys[number][..] });
    })?;
    let consumer = bench.consumer(65_536)?;
    let took = consume(&consumer, count)?;
    bench.remove(consumer, &path)?;
    Ok(each(took, count))
}

/// One sender, and 1, 4, 16 and 64 consumer processes of one group, which sleep when there is
/// nothing.
fn processes(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let mut base = None;
    for count in [1, 4, 16, 64] {
        let took = best(scale, || shared(folder, count, scale.cost * 10))?;
        let base = *base.get_or_insert(took);
        let what = match count {
            1 => "1 process (their base)".to_owned(),
            _ => format!("{count} processes"),
        };
        row(table, &what, took, base);
    }
    Ok(())
}

/// A consumer process: says when it is there, and ends once its input does.
struct Worker {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Worker {
    fn start(path: &Path) -> Outcome<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["child", "cost"])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the worker's output")?;
        let output = BufReader::new(output);
        let mut worker = Self { process, output };
        worker.line()?;
        Ok(worker)
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// How many messages it settled, and when the last one, since the epoch.
    fn end(mut self) -> Outcome<(usize, Duration)> {
        drop(self.process.stdin.take());
        let line = self.line()?;
        let (seen, last) = line
            .split_once(' ')
            .ok_or("a worker says how many and when")?;
        self.process.wait()?;
        Ok((seen.parse()?, Duration::from_nanos(last.parse()?)))
    }
}

/// `PATH`: receives and acknowledges one by one until its input ends.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let path = args.first().ok_or("child cost takes a folder")?;
    let bench = Bench::open(Path::new(path))?;
    let consumer = bench.consumer(65_536)?;
    println!("ready");
    let ended = Arc::new(AtomicBool::new(false));
    let told = ended.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        told.store(true, Ordering::Release);
    });
    let (mut seen, mut last) = (0, Duration::ZERO);
    loop {
        let deliveries = consumer.receive(1, Some(Duration::from_millis(100)))?;
        match deliveries.first() {
            Some(delivery) => {
                consumer.ack(&[delivery.receipt()])?;
                seen += 1;
                last = UNIX_EPOCH.elapsed()?;
            }
            None if ended.load(Ordering::Acquire) => break,
            None => {}
        }
    }
    println!("{seen} {}", last.as_nanos());
    Ok(())
}

fn shared(folder: &Path, workers: usize, count: usize) -> Outcome<f64> {
    let path = folder.join("store");
    let bench = Bench::open(&path)?;
    let group = bench.topic.create_group("work", &GroupOptions::default())?;
    let started: Vec<Worker> = (0..workers)
        .map(|_| Worker::start(&path))
        .collect::<Outcome<_>>()?;
    let settled = |all: usize| -> Outcome<()> {
        let began = Instant::now();
        // Asked seldom, since that walks what is left.
        while group.stats()?.acked < all as u64 {
            if began.elapsed() > LONG {
                return Err(format!("{workers} processes did not settle {all} messages").into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    };
    // Each process maps the window and looks at it once.
    let warm = count / 4;
    bench.send(warm, |_, _| {})?;
    settled(warm)?;
    let at = UNIX_EPOCH.elapsed()?;
    bench.send(count, |_, _| {})?;
    // The workers say when they settled the last one.
    settled(warm + count)?;
    let (mut seen, mut ended) = (0, at);
    for worker in started {
        let (some, last) = worker.end()?;
        seen += some;
        ended = ended.max(last);
    }
    let took = ended.saturating_sub(at);
    if seen != warm + count {
        return Err(format!("{seen} of {} messages came", warm + count).into());
    }
    drop((group, bench.topic));
    bench.store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(each(took, count))
}
