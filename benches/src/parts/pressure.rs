//! What a limit costs each send, and how a topic that throttles holds its backlog: rate and backlog
//! over time, as JSON and as a plot.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libqueue::{ConsumerOptions, Message, OnFull, Store, StoreOptions, Topic, TopicOptions};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

const PAYLOAD: [u8; 100] = [b'x'; 100];
const LIMIT: u64 = 2_000;
const LOW: f64 = 0.5;
const HIGH: f64 = 0.9;
/// What the consumer settles in a second: in the first half of the time, and in the second.
const RATES: [f64; 2] = [4_000.0, 1_000.0];

/// One look: seconds since the start, messages sent a second since the last look, messages that
/// are not settled.
struct Sample {
    at: f64,
    rate: f64,
    backlog: f64,
}

pub(crate) fn run(
    folder: &Path,
    scale: Scale,
    plot: Option<&Path>,
    table: &mut Table,
) -> Outcome<()> {
    let limit = Some(1 << 40);
    let cases = [
        ("without a limit (the base)", None, false),
        ("with a limit that nobody reaches", limit, false),
        ("with it and a group that keeps up", limit, true),
    ];
    let mut least = [f64::MAX; 3];
    for _ in 0..scale.rounds {
        for (least, (_, max, group)) in least.iter_mut().zip(cases) {
            *least = least.min(sends(folder, scale.messages / 2, max, group)?);
        }
    }
    for (value, (what, _, _)) in least.iter().zip(cases) {
        table.push(Row {
            name: format!("send, {what}"),
            who: "Rust".into(),
            value: *value,
            unit: "ns each",
            ratio: Some((value / least[0], "the base".into())),
        });
    }
    let full = scale.rounds > 1;
    let samples = throttled(
        folder,
        Duration::from_millis(if full { 12_000 } else { 600 }),
    )?;
    let most = samples.iter().map(|one| one.backlog).fold(0.0, f64::max);
    table.push(Row {
        name: "throttled, largest backlog".into(),
        who: "Rust".into(),
        value: most,
        unit: "messages",
        ratio: Some((most / (LIMIT as f64 * HIGH), "the high mark".into())),
    });
    for (half, rate) in RATES.iter().enumerate() {
        // The last third of each half: by then it has settled.
        let part = samples.len() / 2;
        let of = &samples[part * half + part * 2 / 3..(part * (half + 1)).min(samples.len())];
        let mean = of.iter().map(|one| one.rate).sum::<f64>() / of.len().max(1) as f64;
        table.push(Row {
            name: format!("throttled, consumers settle {rate:.0} a second"),
            who: "Rust".into(),
            value: mean,
            unit: "messages/s",
            ratio: Some((mean / rate, "the consumers' pace".into())),
        });
    }
    if let Some(file) = plot {
        std::fs::write(file, svg(&samples)?)?;
        std::fs::write(file.with_extension("json"), json(&samples)?)?;
    }
    Ok(())
}

/// Nanoseconds a send.
fn sends(folder: &Path, count: usize, max: Option<u64>, group: bool) -> Outcome<f64> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let options = TopicOptions {
        max_messages: max,
        ..TopicOptions::default()
    };
    let topic = store.topic("bench", &options)?;
    let consumer = match group {
        true => Some(topic.consumer("work", &ConsumerOptions::default())?),
        false => None,
    };
    let mut took = Duration::ZERO;
    for _ in 0..count / 1000 {
        let began = Instant::now();
        for _ in 0..1000 {
            topic.send(&Message::new(&PAYLOAD))?;
        }
        took += began.elapsed();
        if let Some(consumer) = &consumer {
            settle(consumer, 1000)?;
        }
    }
    drop((consumer, topic));
    store.close()?;
    std::fs::remove_dir_all(path)?;
    Ok(took.as_nanos() as f64 / (count / 1000 * 1000) as f64)
}

fn settle(consumer: &libqueue::Consumer, most: usize) -> Outcome<usize> {
    let batch = consumer.receive(most, Some(Duration::from_millis(20)))?;
    let receipts: Vec<_> = batch.iter().map(|one| one.receipt()).collect();
    consumer.ack(&receipts)?;
    Ok(receipts.len())
}

/// Two producers as fast as they may, one consumer at a steady pace that falls in the middle.
fn throttled(folder: &Path, time: Duration) -> Outcome<Vec<Sample>> {
    let path = folder.join("store");
    let store = Store::open(&path, StoreOptions::default())?;
    let options = TopicOptions {
        max_messages: Some(LIMIT),
        on_full: Some(OnFull::Throttle),
        low_mark: Some((LOW * 100.0) as u32),
        high_mark: Some((HIGH * 100.0) as u32),
        ..TopicOptions::default()
    };
    let topic = store.topic("bench", &options)?;
    let consumer = topic.consumer("work", &ConsumerOptions::default())?;
    let (done, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let samples = std::thread::scope(|scope| -> Outcome<Vec<Sample>> {
        for _ in 0..2 {
            scope.spawn(|| produce(&topic, &done, &sent));
        }
        scope.spawn(|| {
            let (began, mut settled) = (Instant::now(), 0.0);
            while !done.load(Ordering::Relaxed) {
                let at = began.elapsed().min(time);
                let first = at.min(time / 2).as_secs_f64() * RATES[0];
                let second = at.saturating_sub(time / 2).as_secs_f64() * RATES[1];
                let due = (first + second - settled) as usize;
                if due > 0 {
                    match settle(&consumer, due) {
                        Ok(count) => settled += count as f64,
                        Err(_) => return,
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let taken = look(&topic, time, &sent);
        done.store(true, Ordering::Relaxed);
        taken
    });
    drop((consumer, topic));
    store.close()?;
    std::fs::remove_dir_all(path)?;
    samples
}

fn produce(topic: &Topic, done: &AtomicBool, sent: &AtomicU64) {
    while !done.load(Ordering::Relaxed) {
        if topic
            .send_within(&Message::new(&PAYLOAD), Duration::from_millis(100))
            .is_ok()
        {
            sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn look(topic: &Topic, time: Duration, sent: &AtomicU64) -> Outcome<Vec<Sample>> {
    let (began, step) = (Instant::now(), time / 120);
    let (mut samples, mut before, mut then) = (Vec::new(), 0, 0.0);
    while began.elapsed() < time {
        std::thread::sleep(step);
        let (now, at) = (sent.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
        samples.push(Sample {
            at,
            rate: (now - before) as f64 / (at - then),
            backlog: topic.pressure()? * LIMIT as f64,
        });
        (before, then) = (now, at);
    }
    Ok(samples)
}

fn json(samples: &[Sample]) -> Outcome<String> {
    let mut text = String::from("[\n");
    for (number, one) in samples.iter().enumerate() {
        let comma = if number + 1 < samples.len() { "," } else { "" };
        writeln!(
            text,
            "  {{\"at\": {:.3}, \"rate\": {:.1}, \"backlog\": {:.0}}}{comma}",
            one.at, one.rate, one.backlog
        )?;
    }
    text.push_str("]\n");
    Ok(text)
}

/// Title, colour, lines across with their names, what is shown of a sample, and the largest value.
type Panel<'a> = (
    &'a str,
    &'a str,
    &'a [(f64, &'a str)],
    fn(&Sample) -> f64,
    f64,
);

/// Two curves above each other, with the marks and the consumers' pace.
fn svg(samples: &[Sample]) -> Outcome<String> {
    let (width, height, left) = (900.0, 240.0, 70.0);
    let end = samples.last().map_or(1.0, |one| one.at);
    let mut text = String::new();
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"580\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"1000\" height=\"580\" fill=\"white\"/>"
    )?;
    let limit = LIMIT as f64;
    let marks = [
        (limit, "limit"),
        (limit * HIGH, "high mark"),
        (limit * LOW, "low mark"),
    ];
    let paces = RATES.map(|rate| (rate, "consumers' pace"));
    let panels: [Panel<'_>; 2] = [
        (
            "messages not settled",
            "#1f6f8b",
            &marks,
            |one| one.backlog,
            limit * 1.05,
        ),
        (
            "messages sent a second",
            "#b5522b",
            &paces,
            |one| one.rate,
            RATES[0] * 2.5,
        ),
    ];
    for (number, (title, colour, lines, of, most)) in panels.into_iter().enumerate() {
        let base = 270.0 + 280.0 * number as f64;
        let x = |at: f64| left + at / end * width;
        let y = |value: f64| base - (value / most).min(1.0) * height;
        let top = base - height - 8.0;
        writeln!(text, "<text x=\"{left}\" y=\"{top}\">{title}</text>")?;
        for (value, name) in lines {
            let at = y(*value);
            writeln!(
                text,
                "<line x1=\"{left}\" x2=\"970\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#999\" \
                 stroke-dasharray=\"4 4\"/>\n<text x=\"{left}\" y=\"{:.1}\" fill=\"#666\">\
                 {name}, {value:.0}</text>",
                at - 3.0
            )?;
        }
        let points: Vec<String> = samples
            .iter()
            .map(|one| format!("{:.1},{:.1}", x(one.at), y(of(one))))
            .collect();
        writeln!(
            text,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>\n\
             <line x1=\"{left}\" x2=\"970\" y1=\"{base}\" y2=\"{base}\" stroke=\"black\"/>\n\
             <text x=\"930\" y=\"{}\">{end:.1} s</text>",
            points.join(" "),
            base + 16.0
        )?;
    }
    text.push_str("</svg>\n");
    Ok(text)
}
