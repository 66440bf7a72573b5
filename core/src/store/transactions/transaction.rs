//! A transaction as its user has it: what it is to do is gathered here.

use std::cell::RefCell;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::murmur2;
use crate::store::consumer::Consumer;
use crate::store::delivery::Delivery;
use crate::store::flow::{Beat, FlowGroups};
use crate::store::group::GroupInner;
use crate::store::leases::Leases;
use crate::store::message::{Message, MessageId, Receipt};
use crate::store::store::Store;
use crate::store::topic::{Topic, TopicInner};
use crate::store::{Handle, StoreInner};

/// Bytes of keys, headers and payloads of a transaction, at most: they are copied while others
/// wait.
const BYTES_MAX: u64 = 16 << 20;
/// Messages and acknowledgements of a transaction, at most.
const OPERATIONS_MAX: usize = 10_000;

/// A message that is to be sent.
pub(super) struct Owned {
    pub(super) topic: Arc<TopicInner>,
    /// By which a topic with a limit is counted.
    pub(super) flow: Arc<FlowGroups>,
    pub(super) partition: u32,
    pub(super) extension: Vec<u8>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) timestamp_ns: Option<i64>,
    pub(super) key_hash: u64,
}

/// All that a transaction is to do.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) sends: Vec<Owned>,
    pub(super) acks: Vec<(Arc<GroupInner>, Receipt)>,
    leases: Vec<(Arc<Leases>, Receipt)>,
    bytes: u64,
}

/// Settles deliveries and sends messages, to any topics of its store, all or nothing (exactly-once
/// within the store). Made by [`Store::transaction`]; used by one thread at a time.
///
/// Nothing happens before [`commit`](Self::commit), and nothing at all where the transaction is
/// dropped, or its process dies before: then the deliveries come back as those of any other
/// consumer. Once `commit` has returned all of it survives `kill -9` of any process, and power loss
/// where the durability of any of the topics, sent to or consumed from, is `sync`. An open
/// transaction keeps nobody from anything.
///
/// ```
/// # use libqueue::{ConsumerOptions, Message, Store, StoreOptions, TopicOptions};
/// # use std::time::Duration;
/// # let folder = tempfile::TempDir::new().unwrap();
/// # let store = Store::open(folder.path(), StoreOptions::default())?;
/// let orders = store.topic("orders", &TopicOptions::default())?;
/// let invoices = store.topic("invoices", &TopicOptions::default())?;
/// orders.send(&Message::new(b"paid"))?;
/// let billing = orders.consumer("billing", &ConsumerOptions::default())?;
/// for delivery in billing.receive(1, Some(Duration::from_secs(1)))? {
///     let mut transaction = store.transaction()?;
///     transaction.send(&invoices, &Message::new(b"invoice"))?;
///     transaction.ack(&delivery)?;
///     let ids = transaction.commit()?;
///     assert_eq!(ids.len(), 1);
/// }
/// # Ok::<(), libqueue::Error>(())
/// ```
pub struct Transaction {
    store: Arc<StoreInner>,
    gathered: Gathered,
    _handle: Option<Handle>,
}

impl Store {
    /// Begins a transaction. [`ErrorKind::ReadOnly`] in a store that is only read.
    pub fn transaction(&self) -> Result<Transaction> {
        let store = self.inner()?.clone();
        store.check_writable("begin a transaction")?;
        Ok(Transaction {
            _handle: Some(store.register_handle("a transaction")),
            store,
            gathered: Gathered::default(),
        })
    }
}

impl Transaction {
    /// The same, but one that does not keep the store from being closed; see
    /// [`Topic::uncounted`](crate::Topic::uncounted).
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self._handle = None;
        self
    }

    /// Sends a message when the transaction is committed. What can be told of it before is told
    /// here: [`ErrorKind::TooLarge`] where it is larger than its topic allows, or the transaction
    /// would have more than 16 MiB of messages or 10,000 operations; [`ErrorKind::InvalidArgument`]
    /// where the topic is of another store, or the message has a dedup id; [`ErrorKind::NotFound`]
    /// where the topic was deleted. Then nothing is added.
    pub fn send(&mut self, topic: &Topic, message: &Message<'_>) -> Result<()> {
        self.check_alive()?;
        let inner = &topic.inner;
        self.check_store(&inner.store, "topic", &inner.name)?;
        let owned = self.own(topic, message)?;
        let bytes = owned.bytes();
        self.check_room(1, bytes)?;
        self.gathered.bytes += bytes;
        self.gathered.sends.push(owned);
        Ok(())
    }

    /// As `send`, of several; all are added, or on an error none.
    pub fn send_many(&mut self, topic: &Topic, messages: &[Message<'_>]) -> Result<()> {
        self.check_alive()?;
        let inner = &topic.inner;
        self.check_store(&inner.store, "topic", &inner.name)?;
        let owned = messages.iter().map(|message| self.own(topic, message));
        let owned = owned.collect::<Result<Vec<_>>>()?;
        let bytes = owned.iter().map(Owned::bytes).sum();
        self.check_room(owned.len(), bytes)?;
        self.gathered.bytes += bytes;
        self.gathered.sends.extend(owned);
        Ok(())
    }

    /// Acknowledges a delivery when the transaction is committed. [`ErrorKind::InvalidArgument`]
    /// where it is of another store, or its group hands out at most once, so that it was settled
    /// before; [`ErrorKind::TooLarge`] where the transaction would have more than 10,000
    /// operations.
    pub fn ack(&mut self, delivery: &Delivery) -> Result<()> {
        self.check_alive()?;
        let leases = delivery.leases();
        self.acknowledge(&delivery.group, &[delivery.receipt()], leases.as_ref())
    }

    /// As `ack`, by receipts of a consumer's deliveries.
    pub fn ack_receipts(&mut self, consumer: &Consumer, receipts: &[Receipt]) -> Result<()> {
        self.check_alive()?;
        consumer.check()?;
        let mut lane = None;
        for receipt in receipts {
            if receipt.id.topic_id != consumer.group.topic.uid && lane.is_none() {
                lane = consumer.group.lane()?;
            }
        }
        self.check_store(&consumer.group.topic.store, "consumer", &consumer.name)?;
        self.check_room(receipts.len(), 0)?;
        for receipt in receipts {
            let of_lane = |lane: &&Arc<GroupInner>| lane.topic.uid == receipt.id.topic_id;
            let group = lane.as_ref().filter(of_lane).unwrap_or(&consumer.group);
            self.acknowledge(group, &[*receipt], consumer.leases.as_ref())?;
        }
        Ok(())
    }

    /// How many messages it is to send.
    #[must_use]
    pub fn sends(&self) -> usize {
        self.gathered.sends.len()
    }

    /// How many deliveries it is to acknowledge.
    #[must_use]
    pub fn acks(&self) -> usize {
        self.gathered.acks.len()
    }

    /// Does all of it, or, on an error, nothing; the ids of the messages, in the order in which
    /// they were sent.
    ///
    /// [`ErrorKind::StaleReceipt`] where any of the deliveries was settled or handed out again
    /// meanwhile: [`Error::stale_places`] says which, by the order in which they were acknowledged
    /// here. [`ErrorKind::NotFound`] where a topic or group was deleted, [`ErrorKind::DiskFull`]
    /// where there is no room. With `sync`, an error that says that the transaction is done and not
    /// on disk is of a sync that failed, or took too long: it has happened, for all processes, and
    /// only a power loss before the next sync that succeeds would take it back, all of it.
    ///
    /// Where it sends to topics with limits there is room in all of them, or nothing happens (P14):
    /// [`ErrorKind::Full`] or [`ErrorKind::TooLarge`], or it waits as the topics are configured,
    /// and errors with [`ErrorKind::Timeout`] after the `send_timeout` of one that has no room.
    /// What it settles makes room only once it has happened; in a topic that drops its oldest
    /// messages it makes room for this one, and is not dropped for it.
    pub fn commit(self) -> Result<Vec<MessageId>> {
        self.commit_as(None)
    }

    /// As `commit`, waiting for room in topics with limits for as long as `go_on` says so, which is
    /// asked some fifty times a second: for languages in which a signal ends a wait. It then errors
    /// as after the timeout.
    pub fn commit_while(self, go_on: &mut dyn FnMut() -> bool) -> Result<Vec<MessageId>> {
        let go_on = RefCell::new(go_on);
        let beat = || (go_on.borrow_mut())();
        self.commit_as(Some(&beat))
    }

    fn commit_as(self, go_on: Option<Beat<'_>>) -> Result<Vec<MessageId>> {
        self.check_alive()?;
        if self.gathered.sends.is_empty() && self.gathered.acks.is_empty() {
            return Ok(Vec::new());
        }
        let Self {
            store,
            mut gathered,
            _handle,
        } = self;
        let leases = std::mem::take(&mut gathered.leases);
        let ids = gathered.commit(&store, go_on)?;
        for (leases, receipt) in leases {
            leases.forget(&[receipt]);
        }
        Ok(ids)
    }

    /// Drops all of it, as dropping the transaction does.
    pub fn abort(self) {}

    fn check_alive(&self) -> Result<()> {
        self.store.check_open()
    }

    fn check_store(&self, store: &Arc<StoreInner>, what: &str, name: &str) -> Result<()> {
        if Arc::ptr_eq(store, &self.store) {
            return Ok(());
        }
        let message = format!(
            "{what} {name:?} is of another opening of a store ({}) than the transaction ({}); a \
             transaction is of one: open both from the same handle",
            store.path.display(),
            self.store.path.display()
        );
        Err(Error::new(ErrorKind::InvalidArgument, message))
    }

    fn check_room(&self, operations: usize, bytes: u64) -> Result<()> {
        let all = self.gathered.sends.len() + self.gathered.acks.len() + operations;
        let total = self.gathered.bytes.saturating_add(bytes);
        if all <= OPERATIONS_MAX && total <= BYTES_MAX {
            return Ok(());
        }
        let message = format!(
            "a transaction of {all} messages and acknowledgements with {total} bytes of keys, \
             headers and payloads; expected at most {OPERATIONS_MAX} and {BYTES_MAX}; use several \
             transactions"
        );
        Err(Error::new(ErrorKind::TooLarge, message))
    }

    fn acknowledge(
        &mut self,
        group: &Arc<GroupInner>,
        receipts: &[Receipt],
        leases: Option<&Arc<Leases>>,
    ) -> Result<()> {
        self.check_store(&group.topic.store, "group", &group.name)?;
        if group.once {
            let message = format!(
                "group {:?} hands out at most once: each message was settled before it was handed \
                 out, and no transaction can settle it; leave it out, or make a group that hands \
                 out at least once",
                group.name
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.check_room(receipts.len(), 0)?;
        for receipt in receipts {
            self.gathered.acks.push((group.clone(), *receipt));
            if let Some(leases) = leases {
                self.gathered.leases.push((leases.clone(), *receipt));
            }
        }
        Ok(())
    }

    /// Takes what it needs of a message, which its sender may change from here on.
    fn own(&self, topic: &Topic, message: &Message<'_>) -> Result<Owned> {
        let (flow, topic) = (&topic.flow, &topic.inner);
        topic.store.check_send()?;
        topic.follow()?;
        if message.dedup_id.is_some() {
            let text = "a message with a dedup id in a transaction; expected none: a transaction \
                        that is repeated finds its deliveries settled, and sends nothing";
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        let (mut headers, mut extension) = (Vec::new(), Vec::new());
        let draft = topic.draft(message, &mut headers, &mut extension)?;
        let (key, payload) = (draft.key.map(<[u8]>::to_vec), draft.payload.to_vec());
        let (timestamp_ns, partition) = (draft.timestamp_ns, topic.choose(message)?);
        Ok(Owned {
            topic: topic.clone(),
            flow: flow.clone(),
            partition,
            key_hash: message.key.map_or(0, murmur2::key_hash),
            extension,
            key,
            headers,
            payload,
            timestamp_ns,
        })
    }
}

impl Owned {
    fn bytes(&self) -> u64 {
        let key = self.key.as_ref().map_or(0, Vec::len);
        (key + self.headers.len() + self.payload.len()) as u64
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("sends", &self.sends())
            .field("acks", &self.acks())
            .finish()
    }
}
