//! NATS JetStream: a work queue stream in files, a durable pull consumer with explicit acks.
//!
//! The server writes a message to its file before it acknowledges the publishing, and syncs that
//! file every two minutes, or before it acknowledges with `sync_interval: always`, which it knows
//! from version 2.10 on. Acks of consumers are not answered: they are with the kernel when `take`
//! returns, on their way to the server.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, Context, Message};
use async_nats::{Client, ConnectOptions};
use futures::{FutureExt, StreamExt};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup};
use crate::server::{
    Program, Server, free_port, installed_as, program, publish_port, published_port,
};

pub(crate) static NATS: Nats = Nats;

const STREAM: &str = "queue";
const GROUP: &str = "group";
/// Messages that a consumer asks for ahead, as its client does by itself.
const AHEAD: usize = 200;

pub(crate) struct Nats;

/// Where it is, and its version.
fn server() -> Option<&'static (Program, String)> {
    static SERVER: OnceLock<Option<(Program, String)>> = OnceLock::new();
    let find = || {
        let program = program("nats-server")?;
        let version = program.version("--version")?;
        Some((program, version))
    };
    SERVER.get_or_init(find).as_ref()
}

/// Whether the server can sync each message.
fn syncs() -> bool {
    server().is_some_and(|(_, version)| version_syncs(version))
}

fn version_syncs(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(2), Some(10))
}

impl Peer for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn installed(&self) -> Installed {
        installed_as(self.name(), server().map(|(_, version)| version.clone()))
    }

    fn durability(&self, sync: bool) -> &'static str {
        if sync { "sync" } else { "process" }
    }

    fn works(&self) -> &'static [&'static str] {
        if syncs() {
            &["W1", "W2", "W3", "W4", "W5", "W6", "W7"]
        } else {
            &["W1", "W2", "W4", "W5", "W6", "W7"]
        }
    }

    fn note(&self) -> Option<&'static str> {
        Some(if syncs() {
            "a consumer's acks are not answered; it asks for 200 messages ahead"
        } else {
            "a consumer's acks are not answered; it asks for 200 messages ahead; versions before \
             2.10 cannot sync each message"
        })
    }

    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        let (program, _) = server().ok_or("nats-server is gone")?;
        let port = free_port()?;
        let config = setup.dir.join("nats.conf");
        std::fs::write(&config, configuration(setup, port))?;
        let arguments = ["-c".into(), std::path::absolute(&config)?.into_os_string()];
        let mut server = Server::start("nats-server", program, &arguments, &[], setup)?;
        server.listens(port)?;
        publish_port(setup, port)?;
        server.ready(|| {
            let link = Link::new(setup)?;
            link.runtime.block_on(declare(&link.context))
        })?;
        Ok(Box::new(server))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(Producer(Link::new(setup)?)))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        let link = Link::new(setup)?;
        // It asks the server for messages when it is read from first, which is in the time.
        let messages = link.runtime.block_on(async {
            let stream = link.context.get_stream_no_info(STREAM).await?;
            let consumer: PullConsumer = stream.get_consumer(GROUP).await.map_err(plain)?;
            let stream = consumer.stream().max_messages_per_batch(AHEAD);
            Outcome::Ok(stream.messages().await?)
        })?;
        Ok(Box::new(Member {
            link,
            messages: Box::new(messages),
        }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let link = Link::new(setup)?;
        let stream = link.runtime.block_on(link.context.get_stream(STREAM))?;
        Ok(stream.cached_info().state.messages)
    }
}

/// The server's settings.
fn configuration(setup: &Setup, port: u16) -> String {
    // It has no such setting before version 2.10, and refuses those that it does not know.
    let sync = if setup.sync {
        "sync_interval: always"
    } else {
        ""
    };
    // The folder is the one that it is started in.
    format!(
        "listen: 127.0.0.1:{port}\n\
         max_payload: {}\n\
         jetstream {{\n  store_dir: \"jetstream\"\n  {sync}\n}}\n",
        (setup.size + 1024).max(1 << 20)
    )
}

/// An error of the client that is of no kind of its own.
fn plain(why: async_nats::Error) -> Box<dyn Error> {
    why
}

/// Makes the queue.
async fn declare(context: &Context) -> Outcome<()> {
    let config = Config {
        name: STREAM.into(),
        subjects: vec![STREAM.into()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        num_replicas: 1,
        ..Config::default()
    };
    let stream = context.get_or_create_stream(config).await?;
    let config = pull::Config {
        durable_name: Some(GROUP.into()),
        ack_policy: AckPolicy::Explicit,
        ..pull::Config::default()
    };
    stream.get_or_create_consumer(GROUP, config).await?;
    Ok(())
}

/// A connection, which lives while something is waited for: one thread does all.
struct Link {
    client: Client,
    context: Context,
    runtime: Runtime,
}

impl Link {
    fn new(setup: &Setup) -> Outcome<Link> {
        let port = published_port(setup)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(
            ConnectOptions::new()
                .max_reconnects(1)
                .connect(format!("127.0.0.1:{port}")),
        )?;
        // It starts a task that waits for answers.
        let inside = runtime.enter();
        let context = jetstream::new(client.clone());
        drop(inside);
        Ok(Link {
            client,
            context,
            runtime,
        })
    }
}

struct Producer(Link);

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.send_batch(&[payload])
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        let Link {
            context, runtime, ..
        } = &self.0;
        runtime.block_on(async {
            let mut accepted = Vec::with_capacity(payloads.len());
            for payload in payloads {
                let payload = payload.to_vec().into();
                accepted.push(context.publish(STREAM, payload).await?);
            }
            for message in accepted {
                message.await?;
            }
            Ok(())
        })
    }
}

struct Member {
    link: Link,
    messages: Box<pull::Stream>,
}

impl Consumer for Member {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let Member { link, messages } = self;
        link.runtime.block_on(async {
            let mut taken: Vec<Message> = Vec::new();
            match timeout(wait, messages.next()).await {
                Ok(Some(message)) => taken.push(message?),
                Ok(None) => return Err("the stream of messages is over".into()),
                Err(_) => return Ok(0),
            }
            while taken.len() < max {
                match messages.next().now_or_never() {
                    Some(Some(message)) => taken.push(message?),
                    _ => break,
                }
            }
            for message in &taken {
                each(&message.payload);
                message.ack().await.map_err(plain)?;
            }
            link.client.flush().await?;
            Ok(taken.len())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_newer_versions_sync_each_message() {
        assert!(!version_syncs("2.9.10"));
        assert!(version_syncs("2.10.0"));
        assert!(version_syncs("3.0.1"));
        assert!(!version_syncs("unknown"));
    }
}
