//! Redis Streams: one stream and one consumer group, over a Unix socket.
//!
//! Redis writes a command to its append-only file before it answers, and syncs that file before it
//! answers only where it is told to (`appendfsync always`); one sync then serves all clients whose
//! commands came together. A message is gone when it was acknowledged (XACK) and deleted (XDEL).

use std::sync::OnceLock;
use std::time::Duration;

use redis::{Client, Cmd, Connection, FromRedisValue, Pipeline, Value, cmd, pipe};
use rustix::process::getpid;

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup};
use crate::server::{Program, Server, installed_as, program, socket};

pub(crate) static REDIS: Redis = Redis;

const STREAM: &str = "queue";
const GROUP: &str = "group";
/// The one field of each entry.
const FIELD: &str = "m";

pub(crate) struct Redis;

/// Where it is, and its version.
fn server() -> Option<&'static (Program, String)> {
    static SERVER: OnceLock<Option<(Program, String)>> = OnceLock::new();
    let find = || {
        let program = program("redis-server")?;
        let version = program.version("--version")?;
        Some((program, version))
    };
    SERVER.get_or_init(find).as_ref()
}

impl Peer for Redis {
    fn name(&self) -> &'static str {
        "redis"
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

    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        let (program, _) = server().ok_or("redis-server is gone")?;
        let socket = socket(setup, "socket")?;
        let sync = if setup.sync { "always" } else { "no" };
        let socket = socket.to_str().ok_or("a folder whose name is not UTF-8")?;
        // Snapshots are the other way to keep data, and not needed beside the append-only file.
        let arguments = [
            ["--port", "0"],
            ["--unixsocket", socket],
            ["--save", ""],
            ["--appendonly", "yes"],
            ["--appendfsync", sync],
        ];
        let arguments: Vec<_> = arguments.concat().iter().map(Into::into).collect();
        let mut server = Server::start("redis-server", program, &arguments, &[], setup)?;
        let mut connection = server.ready(|| connect(setup))?;
        cmd("XGROUP")
            .arg(&["CREATE", STREAM, GROUP, "0", "MKSTREAM"])
            .exec(&mut connection)?;
        Ok(Box::new(server))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(Producer {
            connection: connect(setup)?,
        }))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        Ok(Box::new(Member {
            connection: connect(setup)?,
            name: format!("consumer-{}", getpid().as_raw_pid()),
        }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        Ok(cmd("XLEN").arg(STREAM).query(&mut connect(setup)?)?)
    }
}

/// A connection that was answered.
fn connect(setup: &Setup) -> Outcome<Connection> {
    let address = format!("unix://{}", socket(setup, "socket")?.display());
    let mut connection = Client::open(address)?.get_connection()?;
    cmd("PING").exec(&mut connection)?;
    Ok(connection)
}

struct Producer {
    connection: Connection,
}

fn add(payload: &[u8]) -> Cmd {
    let mut add = cmd("XADD");
    add.arg(STREAM).arg("*").arg(FIELD).arg(payload);
    add
}

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        Ok(add(payload).exec(&mut self.connection)?)
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        let mut pipe = Pipeline::with_capacity(payloads.len());
        for payload in payloads {
            pipe.add_command(add(payload)).ignore();
        }
        Ok(pipe.exec(&mut self.connection)?)
    }
}

struct Member {
    connection: Connection,
    name: String,
}

impl Consumer for Member {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let came: Value = cmd("XREADGROUP")
            .arg("GROUP")
            .arg(&[GROUP, &self.name])
            .arg("COUNT")
            .arg(max)
            .arg("BLOCK")
            // 0 would be for ever.
            .arg(wait.as_millis().max(1) as u64)
            .arg(&["STREAMS", STREAM, ">"])
            .query(&mut self.connection)?;
        let entries = entries(came)?;
        if entries.is_empty() {
            return Ok(0);
        }
        let ids: Vec<&[u8]> = entries.iter().map(|(id, _)| id.as_slice()).collect();
        entries.iter().for_each(|(_, payload)| each(payload));
        let (acknowledged, deleted): (usize, usize) = pipe()
            .cmd("XACK")
            .arg(&[STREAM, GROUP])
            .arg(&ids)
            .cmd("XDEL")
            .arg(STREAM)
            .arg(&ids)
            .query(&mut self.connection)?;
        if (acknowledged, deleted) != (ids.len(), ids.len()) {
            return Err(format!(
                "expected {} entries to go, {acknowledged} were acknowledged and {deleted} deleted",
                ids.len()
            )
            .into());
        }
        Ok(ids.len())
    }
}

/// Names and payloads of what came from the stream: `[[stream, [[name, [field, payload]]...]]]`.
fn entries(came: Value) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
    if came == Value::Nil {
        return Ok(Vec::new());
    }
    type Entry = (Vec<u8>, (Vec<u8>, Vec<u8>));
    let mut streams: Vec<(Value, Vec<Entry>)> = FromRedisValue::from_redis_value(came)?;
    let (_, entries) = streams.pop().ok_or("no stream in what came")?;
    Ok(entries
        .into_iter()
        .map(|(name, (_, payload))| (name, payload))
        .collect())
}
