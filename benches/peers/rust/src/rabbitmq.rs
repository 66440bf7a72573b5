//! RabbitMQ: a durable quorum queue of one node, publisher confirms, manual acks with a prefetch.
//!
//! A quorum queue confirms a message once its log is synced, whether or not that is asked for, so
//! its rows are "sync" at every work. Acks of consumers are not answered: they are with the kernel
//! when `take` returns, on their way to the server.
//!
//! The node registers with a name server of its own (epmd), which this program starts beside it and
//! ends with it. Else the node would start one for the whole machine and leave it behind.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup};
use crate::server::{
    Program, Server, free_port, installed_as, program, program_at, publish_port, published_port,
};

pub(crate) static RABBITMQ: Rabbitmq = Rabbitmq;

const QUEUE: &str = "queue";
/// Deliveries that a consumer gets ahead of its acks: in the range that the manual advises.
const AHEAD: u16 = 200;
/// Where the packages put the program itself. What they put on the PATH runs as another user.
const PACKAGED: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// On disk as well, for a queue that could have it otherwise.
const PERSISTENT: u8 = 2;

pub(crate) struct Rabbitmq;

struct Found {
    node: Program,
    names: Program,
    version: String,
}

fn found() -> Option<&'static Found> {
    static FOUND: OnceLock<Option<Found>> = OnceLock::new();
    let find = || {
        let node = program_at(PACKAGED).or_else(|| program("rabbitmq-server"))?;
        let node = node.resolved()?;
        let version = version_of(node.path())?;
        let names = program("epmd")?;
        Some(Found {
            node,
            names,
            version,
        })
    };
    FOUND.get_or_init(find).as_ref()
}

/// A running node is asked for its version else, which takes seconds: the folder that it is in has
/// it in its name.
fn version_of(program: &Path) -> Option<String> {
    let folders = program.iter().filter_map(|part| part.to_str());
    let mut versions = folders.filter_map(|name| name.strip_prefix("rabbitmq_server-"));
    versions.next().map(str::to_owned)
}

impl Peer for Rabbitmq {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn installed(&self) -> Installed {
        installed_as(self.name(), found().map(|found| found.version.clone()))
    }

    fn durability(&self, _sync: bool) -> &'static str {
        "sync"
    }

    fn works(&self) -> &'static [&'static str] {
        &["W1", "W2", "W3", "W4", "W5", "W6", "W7"]
    }

    fn note(&self) -> Option<&'static str> {
        Some(
            "a quorum queue syncs at every work; a consumer's acks are not answered, and it gets \
             200 messages ahead of them",
        )
    }

    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        let found = found().ok_or("rabbitmq-server is gone")?;
        let (names_port, peers_port, port) = (free_port()?, free_port()?, free_port()?);
        let environment = environment(setup, names_port, peers_port, port)?;
        let arguments = ["-address", "127.0.0.1", "-port", &names_port.to_string()];
        let arguments = arguments.map(OsString::from);
        let mut names = Server::start("epmd", &found.names, &arguments, &[], setup)?;
        names.listens(names_port)?;
        let mut node = Server::start("rabbitmq-server", &found.node, &[], &environment, setup)?;
        node.listens(port)?;
        publish_port(setup, port)?;
        let link = node.ready(|| Link::new(setup))?;
        link.declare(QueueDeclareOptions::durable())?;
        // The node ends before its name server.
        Ok(Box::new((node, names)))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        let link = Link::new(setup)?;
        let confirms = link.channel.confirm_select(ConfirmSelectOptions::default());
        link.runtime.block_on(confirms)?;
        Ok(Box::new(Producer(link)))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        let link = Link::new(setup)?;
        let ahead = link.channel.basic_qos(AHEAD, BasicQosOptions::default());
        link.runtime.block_on(ahead)?;
        Ok(Box::new(Member {
            link,
            deliveries: None,
        }))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let link = Link::new(setup)?;
        link.declare(QueueDeclareOptions::durable().passive())
    }
}

/// What the node finds in its environment: that it keeps all in the folder of the run, takes its
/// settings from there alone, and listens on the loopback interface.
fn environment(
    setup: &Setup,
    names_port: u16,
    peers_port: u16,
    port: u16,
) -> Outcome<Vec<(&'static str, OsString)>> {
    let dir = std::path::absolute(&setup.dir)?;
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).map(|()| path.into_os_string())
    };
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\n\
         log.console = true\n\
         log.console.level = warning\n\
         log.file = false\n"
    );
    let loopback = "-kernel inet_dist_use_interface {127,0,0,1}";
    Ok(vec![
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_EPMD_PORT", names_port.to_string().into()),
        // Its cookie, which nodes that speak to each other share, is written there.
        ("HOME", dir.clone().into_os_string()),
        (
            "RABBITMQ_ADVANCED_CONFIG_FILE",
            file("advanced.config", "[].\n")?,
        ),
        ("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf", &settings)?),
        ("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf", "")?),
        ("RABBITMQ_DIST_PORT", peers_port.to_string().into()),
        (
            "RABBITMQ_ENABLED_PLUGINS_FILE",
            file("enabled_plugins", "[].\n")?,
        ),
        ("RABBITMQ_LOG_BASE", dir.join("log").into_os_string()),
        ("RABBITMQ_MNESIA_BASE", dir.join("mnesia").into_os_string()),
        (
            "RABBITMQ_NODENAME",
            format!("libqueue-peer-{port}@localhost").into(),
        ),
        ("RABBITMQ_PID_FILE", dir.join("pid").into_os_string()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback.into()),
        // Then its script becomes the node, and does not stay beside it as its parent.
        ("RUNNING_UNDER_SYSTEMD", "true".into()),
    ])
}

/// A connection and a channel.
struct Link {
    channel: Channel,
    /// The channel is closed with it.
    _connection: Connection,
    /// The client has threads of its own, which need one that goes on while nothing is waited for.
    runtime: Runtime,
}

impl Link {
    fn new(setup: &Setup) -> Outcome<Link> {
        let address = format!(
            "amqp://guest:guest@127.0.0.1:{}/%2f",
            published_port(setup)?
        );
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (connection, channel) = runtime.block_on(async {
            let connection = Connection::connect(&address, ConnectionProperties::default());
            let connection = connection.await?;
            let channel = connection.create_channel().await?;
            Outcome::Ok((connection, channel))
        })?;
        Ok(Link {
            channel,
            _connection: connection,
            runtime,
        })
    }

    /// Declares the queue, and says how many messages wait in it.
    fn declare(&self, options: QueueDeclareOptions) -> Outcome<u64> {
        let mut kind = FieldTable::default();
        kind.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let queue = self.channel.queue_declare(QUEUE.into(), options, kind);
        Ok(self.runtime.block_on(queue)?.message_count().into())
    }

    async fn publish(&self, payload: &[u8]) -> Outcome<PublisherConfirm> {
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let options = BasicPublishOptions::default();
        let publish =
            self.channel
                .basic_publish("".into(), QUEUE.into(), options, payload, properties);
        Ok(publish.await?)
    }
}

struct Producer(Link);

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.send_batch(&[payload])
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        let link = &self.0;
        link.runtime.block_on(async {
            let mut confirms = Vec::with_capacity(payloads.len());
            for payload in payloads {
                confirms.push(link.publish(payload).await?);
            }
            for confirm in confirms {
                if !confirm.await?.is_ack() {
                    return Err("RabbitMQ has not taken a message".into());
                }
            }
            Ok(())
        })
    }
}

struct Member {
    link: Link,
    /// None until something is asked for: deliveries come as soon as they can, and that is timed.
    deliveries: Option<lapin::Consumer>,
}

impl Consumer for Member {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let Link {
            channel, runtime, ..
        } = &self.link;
        let deliveries = &mut self.deliveries;
        runtime.block_on(async {
            if deliveries.is_none() {
                let options = BasicConsumeOptions::default();
                let consume =
                    channel.basic_consume(QUEUE.into(), "".into(), options, FieldTable::default());
                *deliveries = Some(consume.await?);
            }
            let deliveries = deliveries.as_mut().ok_or("nothing is consumed")?;
            let mut last: Delivery = match timeout(wait, deliveries.next()).await {
                Ok(Some(delivery)) => delivery?,
                Ok(None) => return Err("RabbitMQ has ended the consumer".into()),
                Err(_) => return Ok(0),
            };
            each(&last.data);
            let mut taken = 1;
            while taken < max {
                match deliveries.next().now_or_never() {
                    Some(Some(delivery)) => last = delivery?,
                    _ => break,
                }
                each(&last.data);
                taken += 1;
            }
            // All that came before it are acknowledged with the last.
            last.acker.ack(BasicAckOptions { multiple: true }).await?;
            Ok(taken)
        })
    }
}
