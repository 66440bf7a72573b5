//! A consumer in another process: the test program started anew, which has a test
//! `the_other_process` that calls `obey`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libqueue::{ConsumerOptions, Delivery};

use super::{NOW, WAIT, open, receipts, topic};

const CHILD: &str = "LIBQUEUE_TEST_CHILD";

/// Another process with a consumer of group "g", which does as it is told, a line at a time.
pub struct Worker {
    pub process: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Worker {
    pub fn start(name: &str, folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_other_process", "--nocapture"])
            .env(CHILD, format!("{name}:{}", folder.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let mut worker = Self {
            process,
            input,
            lines,
        };
        assert_eq!(worker.hear(), "ready");
        worker
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        while self.lines.read_line(&mut line).unwrap() > 0 {
            if let Some(said) = line.trim_end().strip_prefix('@') {
                return said.to_owned();
            }
            line.clear();
        }
        panic!("the other process ended: {:?}", self.process.wait());
    }

    /// Without waiting for its answer.
    pub fn tell(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
    }

    pub fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        self.hear()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What the other process does; nothing in an ordinary run.
pub fn obey() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (name, folder) = task.split_once(':').unwrap();
    let store = open(Path::new(folder));
    let topic = topic(&store, 1);
    let options = ConsumerOptions {
        name: Some(name.to_owned()),
        ..ConsumerOptions::default()
    };
    let worker = topic.consumer("g", &options).unwrap();
    println!("\n@ready");
    let mut had = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let told = match what {
            "take" => worker.receive(rest.parse().unwrap(), NOW).map(|batch| {
                had.extend(batch);
                had.len().to_string()
            }),
            "wait" => worker.receive(1, WAIT).map(|batch| {
                had.extend(batch);
                had.len().to_string()
            }),
            "start" => {
                had[rest.parse::<usize>().unwrap()].start();
                Ok("started".to_owned())
            }
            "idle" => {
                let calls = rest.parse().unwrap();
                let nothing = (0..calls).all(|_| worker.receive(1, NOW).unwrap().is_empty());
                Ok(if nothing { "nothing" } else { "something" }.to_owned())
            }
            "lease" => Ok(lease_left(&had).to_string()),
            "ack" => worker.ack(&receipts(&had)).map(|()| "acked".to_owned()),
            "nack" => {
                let failed = worker.nack(&receipts(&had), None, Some("cannot"));
                failed.map(|()| "nacked".to_owned())
            }
            "forget" => Ok(std::mem::take(&mut had).len().to_string()),
            "close" => worker.close().map(|()| "closed".to_owned()),
            other => panic!("what is {other:?}?"),
        };
        println!("\n@{}", told.unwrap_or_else(|e| format!("{:?}", e.kind())));
    }
}

/// Seconds until the last message's lease ends, rounded.
fn lease_left(had: &[Delivery]) -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let deadline = had.last().unwrap().deadline_ns();
    (deadline - now.as_nanos() as i64 + 500_000_000) / 1_000_000_000
}
