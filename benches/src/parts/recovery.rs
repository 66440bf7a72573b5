//! Opening a large store again after a crash: the processes killed, and the host started anew.
//!
//! A power loss cannot be had here. What recovery goes by is the id of the host's start in the
//! partition's reserve (see `core/docs/format.md`); that is changed, so that it walks and checks
//! all that it would have to. Pages that are in memory would have to be read from disk as well.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libqueue::{Message, ReaderOptions, Start, Store, StoreOptions, TopicOptions};

use crate::report::{Row, Table};
use crate::{Outcome, Scale};

/// Of a message; its header comes to it.
const PAYLOAD: usize = 16 * 1024;
const SLOTS: [usize; 2] = [0, 512];
const BOOT: std::ops::Range<usize> = 64..80;
const CRC: usize = 88;

pub(crate) fn run(folder: &Path, scale: Scale, table: &mut Table) -> Outcome<()> {
    let path = folder.join("store");
    let gigabytes = scale.recovered as f64 / 1e9;
    for anew in [false, true] {
        fill_and_kill(&path, scale.recovered)?;
        if anew {
            start_anew(&path.join("topics/bench/0/reserve"))?;
        }
        let began = Instant::now();
        let store = Store::open(&path, StoreOptions::default())?;
        let topic = store.topic("bench", &TopicOptions::default())?;
        topic.send(&Message::new(b"works"))?;
        let took = began.elapsed();
        is_whole(&topic, scale.recovered)?;
        drop(topic);
        store.close()?;
        std::fs::remove_dir_all(&path)?;
        let crash = if anew { "a power loss" } else { "a kill" };
        table.push(Row {
            name: format!("open and send after {crash}, {gigabytes:.1} GB"),
            who: "Rust".into(),
            value: took.as_secs_f64() * 1e3,
            unit: "ms",
            ratio: None,
        });
    }
    Ok(())
}

/// Has another process send so much and kills it in the middle of more.
fn fill_and_kill(path: &Path, bytes: usize) -> Outcome<()> {
    let mut filler = Command::new(std::env::current_exe()?)
        .args(["child", "recovery"])
        .arg(path)
        .arg(bytes.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut output = filler.stdout.take().ok_or("the filler's output")?;
    // It says one byte once all is sent; nothing, and its end, if it failed.
    let said = output.read(&mut [0; 1])?;
    filler.kill()?;
    filler.wait()?;
    if said == 1 {
        Ok(())
    } else {
        Err("the filler failed".into())
    }
}

/// The filler: store, bytes.
pub(crate) fn child(args: &[String]) -> Outcome<()> {
    let [path, bytes] = args else {
        return Err("recovery takes PATH BYTES".into());
    };
    let store = Store::open(Path::new(path), StoreOptions::default())?;
    let topic = store.topic("bench", &TopicOptions::default())?;
    let payload = vec![b'x'; PAYLOAD];
    let count = bytes.parse::<usize>()? / PAYLOAD;
    for number in 0_u64.. {
        topic.send(&Message::new(&payload))?;
        if number == count as u64 {
            println!("+");
        }
    }
    Ok(())
}

/// Makes a partition's reserve one that was written before the host was started.
fn start_anew(reserve: &Path) -> Outcome<()> {
    let mut bytes = std::fs::read(reserve)?;
    for at in SLOTS {
        let slot = &mut bytes[at..at + CRC + 4];
        slot[BOOT].fill(0xB0);
        let crc = crc32fast::hash(&slot[..CRC]);
        slot[CRC..].copy_from_slice(&crc.to_le_bytes());
    }
    Ok(std::fs::write(reserve, bytes)?)
}

/// The newest messages are there, up to the one sent after the crash.
fn is_whole(topic: &libqueue::Topic, bytes: usize) -> Outcome<()> {
    let sent = (bytes / PAYLOAD) as u64;
    let options = ReaderOptions {
        start: Start::Offset(sent.saturating_sub(10)),
        ..ReaderOptions::default()
    };
    let mut reader = topic.reader(&options)?;
    let mut last = None;
    loop {
        let some = reader.receive(1000, Some(Duration::ZERO))?;
        let Some(newest) = some.last() else { break };
        last = Some((newest.offset(), newest.payload().to_vec()));
    }
    match last {
        Some((offset, payload)) if offset > sent && payload == b"works" => Ok(()),
        other => Err(format!("after the crash the log ends with {other:?}").into()),
    }
}
