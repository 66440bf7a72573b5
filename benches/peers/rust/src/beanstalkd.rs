//! beanstalkd: its own protocol over a Unix socket, as the protocol's document has it.
//!
//! It writes a job to its log before it answers, and syncs the log before only with `-f0`. Commands
//! may follow each other without waiting for the answers, which is how batches go here.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup};
use crate::server::{Program, Server, installed_as, program, socket};

pub(crate) static BEANSTALKD: Beanstalkd = Beanstalkd;

/// So many jobs are asked for at once.
const AHEAD: usize = 100;
/// So many bytes of commands are written before the answers are read. The server does not read on
/// while its answers wait to be read: what does not fit between the two ends never gets through.
const UNREAD: usize = 64 << 10;
/// Seconds for which a job is a consumer's alone.
const LEASE: u32 = 60;
/// The largest job unless it is told otherwise.
const LARGEST: usize = 65_535;

pub(crate) struct Beanstalkd;

/// Where it is, and its version.
fn server() -> Option<&'static (Program, String)> {
    static SERVER: OnceLock<Option<(Program, String)>> = OnceLock::new();
    let find = || {
        let program = program("beanstalkd")?;
        let version = program.version("-v")?;
        Some((program, version))
    };
    SERVER.get_or_init(find).as_ref()
}

impl Peer for Beanstalkd {
    fn name(&self) -> &'static str {
        "beanstalkd"
    }

    fn installed(&self) -> Installed {
        installed_as(self.name(), server().map(|(_, version)| version.clone()))
    }

    fn durability(&self, sync: bool) -> &'static str {
        if sync { "sync" } else { "process" }
    }

    fn works(&self) -> &'static [&'static str] {
        &["W1", "W2", "W3", "W4", "W5", "W6", "W7"]
    }

    fn note(&self) -> Option<&'static str> {
        Some("batches are commands that follow each other without waiting for the answers")
    }

    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        let (program, _) = server().ok_or("beanstalkd is gone")?;
        let log = std::path::absolute(&setup.dir)?.join("binlog");
        std::fs::create_dir(&log)?;
        let mut listen = std::ffi::OsString::from("unix:");
        listen.push(socket(setup, "socket")?);
        let arguments = [
            "-b".into(),
            log.into_os_string(),
            if setup.sync { "-f0" } else { "-F" }.into(),
            "-z".into(),
            setup.size.max(LARGEST).to_string().into(),
            "-l".into(),
            listen,
        ];
        let mut server = Server::start("beanstalkd", program, &arguments, &[], setup)?;
        server.ready(|| Client::connect(setup)?.ready())?;
        Ok(Box::new(server))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(Client::connect(setup)?))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        Ok(Box::new(Worker {
            client: Client::connect(setup)?,
            asked: 1,
            jobs: Vec::new(),
        }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        Client::connect(setup)?.ready()
    }
}

/// A connection and what is on its way to the server.
struct Client {
    connection: BufReader<UnixStream>,
    commands: Vec<u8>,
    answer: String,
}

impl Client {
    fn connect(setup: &Setup) -> Outcome<Client> {
        let connection = UnixStream::connect(socket(setup, "socket")?)?;
        Ok(Client {
            connection: BufReader::with_capacity(64 << 10, connection),
            commands: Vec::new(),
            answer: String::new(),
        })
    }

    fn flush(&mut self) -> Outcome<()> {
        self.connection.get_mut().write_all(&self.commands)?;
        self.commands.clear();
        Ok(())
    }

    /// The next line that it says, without its end.
    fn line(&mut self) -> Outcome<&str> {
        self.answer.clear();
        if self.connection.read_line(&mut self.answer)? == 0 {
            return Err("beanstalkd has closed the connection".into());
        }
        Ok(self.answer.trim_end())
    }

    /// The bytes that follow a line, and the end of theirs.
    fn body(&mut self, length: usize, into: &mut Vec<u8>) -> Outcome<()> {
        into.resize(length + 2, 0);
        self.connection.read_exact(into)?;
        into.truncate(length);
        Ok(())
    }

    fn put(&mut self, payload: &[u8]) -> Outcome<()> {
        write!(self.commands, "put 0 0 {LEASE} {}\r\n", payload.len())?;
        self.commands.extend_from_slice(payload);
        self.commands.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// The next answer has to begin so.
    fn expect(&mut self, word: &str) -> Outcome<()> {
        let line = self.line()?;
        if line.split(' ').next() != Some(word) {
            return Err(format!("expected {word} of beanstalkd, got {line:?}").into());
        }
        Ok(())
    }

    /// Sends the jobs that were put and hears that all of them are there.
    fn inserted(&mut self, jobs: usize) -> Outcome<()> {
        self.flush()?;
        (0..jobs).try_for_each(|_| self.expect("INSERTED"))
    }

    /// How many jobs wait.
    fn ready(&mut self) -> Outcome<u64> {
        self.commands.extend_from_slice(b"stats-tube default\r\n");
        self.flush()?;
        let line = self.line()?;
        let length = line
            .strip_prefix("OK ")
            .ok_or_else(|| format!("no statistics: {line:?}"))?;
        let (length, mut body) = (length.parse()?, Vec::new());
        self.body(length, &mut body)?;
        let text = String::from_utf8(body)?;
        let ready = |line: &str| line.strip_prefix("current-jobs-ready: ").map(str::to_owned);
        let count = text.lines().find_map(ready);
        Ok(count
            .ok_or("no count of jobs among the statistics")?
            .parse()?)
    }
}

impl Sender for Client {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.put(payload)?;
        self.inserted(1)
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        let mut waiting = 0;
        for payload in payloads {
            if waiting > 0 && self.commands.len() + payload.len() > UNREAD {
                self.inserted(waiting)?;
                waiting = 0;
            }
            self.put(payload)?;
            waiting += 1;
        }
        self.inserted(waiting)
    }
}

struct Worker {
    client: Client,
    /// So many jobs are asked for at once: twice as many as before while all of them come.
    asked: usize,
    /// The names of those that came.
    jobs: Vec<u64>,
}

impl Worker {
    /// Reserves up to `count` jobs; waits so many seconds for the first of them.
    fn reserve(&mut self, count: usize, seconds: u64, each: &mut dyn FnMut(&[u8])) -> Outcome<()> {
        let client = &mut self.client;
        for place in 0..count {
            let seconds = if place == 0 { seconds } else { 0 };
            write!(client.commands, "reserve-with-timeout {seconds}\r\n")?;
        }
        client.flush()?;
        let mut body = Vec::new();
        for _ in 0..count {
            let line = client.line()?;
            if line == "TIMED_OUT" {
                continue;
            }
            let mut words = line.split(' ');
            let (Some("RESERVED"), Some(job), Some(length)) =
                (words.next(), words.next(), words.next())
            else {
                return Err(format!("expected a job of beanstalkd, got {line:?}").into());
            };
            let (job, length) = (job.parse()?, length.parse()?);
            client.body(length, &mut body)?;
            each(&body);
            self.jobs.push(job);
        }
        Ok(())
    }

    fn delete(&mut self) -> Outcome<()> {
        for job in &self.jobs {
            write!(self.client.commands, "delete {job}\r\n")?;
        }
        self.client.flush()?;
        let client = &mut self.client;
        self.jobs.iter().try_for_each(|_| client.expect("DELETED"))
    }
}

impl Consumer for Worker {
    /// It counts whole seconds, so it waits longer for the first than it is asked to.
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let asked = self.asked.min(max).min(AHEAD);
        self.jobs.clear();
        self.reserve(asked, wait.as_millis().div_ceil(1000) as u64, each)?;
        let came = self.jobs.len();
        self.asked = if came == asked { 2 * came } else { came.max(1) };
        self.delete()?;
        Ok(came)
    }
}
