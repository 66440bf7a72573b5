//! Descriptors: one that is readable while a receive may return something, for event loops.
//!
//! Whoever changes what a descriptor has to say brings it in line: each receive call of its
//! consumer, and the bridge, which is woken for all that others do (`bridge.rs`). Both look and act
//! under one lock, so that the later look has the last word. Who made it unreadable announces
//! first, or announces and looks again: what is published after that look rings the bell.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::advance::Moved;
use super::bridge::Bridge;
use super::consumer::Consumer;
use super::death::PROBE_MS;
use super::dying;
use super::fill::Need;
use super::group::GroupInner;
use super::inner::locked;
use super::sieve::{MOST, Sieve, pass_over};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::block as words;
use crate::group::{Counter, Now, Window};
use crate::log::{Partition, Place};
use crate::shm::{EventCount, Signal};

/// The beat at which the dead are looked for while anything is leased (P10).
const BEAT: u64 = 50;
/// How long a descriptor goes unlooked at while nothing happens: who was killed between publishing
/// and ringing has told nobody.
const IDLE: u64 = 1_000;
/// How long to wait for a window's lock: others' descriptors wait too.
const PATIENCE: Duration = Duration::from_millis(5);

/// What a look at a group found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Whether a receive may return something.
    may: bool,
    /// Whether somebody may die with a lease.
    leased: bool,
    /// When the next lease or delay ends, in ms of the boot clock.
    due_ms: Option<u64>,
    /// Differs after whatever may have changed what a receive returns.
    print: u64,
    /// What became of the descriptor.
    pub(super) readable: bool,
    /// What a receive is to tell of: nobody else would be told again (`aside.rs`).
    failed: Option<Error>,
}

impl Look {
    /// When to look again at the latest, in ms of the boot clock.
    pub(super) fn again_ms(&self, now: u64) -> u64 {
        let beat = now + if self.leased { BEAT } else { IDLE };
        self.due_ms.map_or(beat, |due| beat.min(due.max(now + 1)))
    }
}

/// A consumer's descriptor.
pub(super) struct Watch {
    group: Arc<GroupInner>,
    signal: Signal,
    /// Readable whatever the group holds: there is an error to be told of, or the consumer hands
    /// out nothing more.
    forced: AtomicBool,
    decided: Mutex<Decided>,
}

#[derive(Default)]
struct Decided {
    readable: bool,
    /// As the group was when a receive found nothing although it looked as if there was something.
    in_vain: Option<u64>,
    /// What a look met, until a receive tells of it.
    failed: Option<Error>,
}

impl GroupInner {
    fn look(&self) -> Look {
        let news = self.topic.store.control.news(&self.block.head);
        let mut look = Look {
            print: u64::from(news),
            ..Look::default()
        };
        let lane = self.lane().unwrap_or_else(|_| {
            // The receive says why it cannot be looked into.
            look.may = true;
            None
        });
        let lane = lane.iter().map(|lane| (&**lane, &lane.topic.partitions[0]));
        let own = self.topic.partitions.iter().map(|own| (self, own));
        for (group, partition) in lane.chain(own) {
            match group.look_at(partition, &mut look) {
                Ok(()) => {}
                // Nobody can say; its holder lets go, or is found to be dead.
                Err(error) if error.kind() == ErrorKind::Stuck => look.leased = true,
                // The receive says what is wrong.
                Err(_) => look.may = true,
            }
        }
        look
    }

    /// What the group's filter leaves out is settled by the look: no receive would return it.
    fn look_at(&self, partition: &Partition, look: &mut Look) -> Result<()> {
        let (print, mut sieve) = (look.print, Sieve::default());
        for _ in 0..MOST {
            look.print = print;
            let room = match self.look_once(partition, look, &sieve)? {
                Need::Sieve(cursor) => {
                    sieve = self.sift(partition, cursor, 1)?;
                    continue;
                }
                Need::Map(cursor) => {
                    let mut found = cursor;
                    match partition.resolve(&mut found)? {
                        Place::Nothing => return Ok(()),
                        // The receive says what is wrong.
                        Place::Broken => {
                            look.may = true;
                            return Ok(());
                        }
                        Place::Mapped => {
                            self.go_on(partition, cursor, found, false)? != Moved::NoRoom
                        }
                    }
                }
                Need::Room => false,
                _ => return Ok(()),
            };
            if !room && !self.grow(partition.number())? {
                return Ok(());
            }
        }
        // There is more of it: the next look goes on, after those at other groups.
        look.due_ms = Some(0);
        Ok(())
    }

    fn look_once(&self, partition: &Partition, look: &mut Look, sieve: &Sieve) -> Result<Need> {
        let (clock, number) = (&self.topic.store.env.clock, partition.number());
        let (now, print) = (Now::by(&**clock), look.print);
        let (mut expired, mut need, mut marked) = (Vec::new(), Need::Nothing, false);
        let dying = self.with_policy_within(number, PATIENCE, |window, policy| {
            let ended = window.expire(policy, now);
            (expired, marked) = (ended.dying, ended.marked);
            let sent = partition.next_offset();
            let fresh = |window: &Window| {
                let next = window.next();
                !self.is_lane() && next < sent && !window.is_full(next)
            };
            let mut any = window.has_ready() || fresh(window);
            if policy.filter != 0 && any && !policy.paused && !window.has_ready() {
                (any, need) = pass_over(window, policy, partition, sieve);
                any &= fresh(window);
            }
            look.may |= any && !policy.paused;
            let out = [Counter::Leased, Counter::Committing];
            look.leased |= out.iter().any(|counter| window.counter(*counter) > 0);
            look.due_ms = [look.due_ms, window.next_due()].into_iter().flatten().min();
            let ready = window.counter(Counter::Ready);
            for word in [sent, window.next(), window.floor(), ready] {
                look.print = (look.print ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            }
            window.counter(Counter::Dying) > 0
        })?;
        self.remember_expired(number, &expired);
        if marked {
            self.look_at_marks(number);
        }
        if dying {
            match dying::move_passing(self, number) {
                // What waited behind them may be ready now.
                Ok(true) => {
                    look.print = print;
                    return self.look_once(partition, look, sieve);
                }
                Ok(false) => {}
                Err(error) => drop(look.failed.get_or_insert(error)),
            }
        }
        Ok(need)
    }
}

impl Watch {
    fn new(group: &Arc<GroupInner>) -> Result<Self> {
        Ok(Self {
            group: group.clone(),
            signal: Signal::new()?,
            forced: AtomicBool::new(false),
            decided: Mutex::default(),
        })
    }

    pub(super) fn group(&self) -> &GroupInner {
        &self.group
    }

    /// Looks, and makes the descriptor say what was found.
    fn update(&self, in_vain: Option<u64>) -> Look {
        let mut decided = locked(&self.decided);
        let mut look = self.group.look();
        decided.in_vain = in_vain.or(decided.in_vain);
        let may = look.may && decided.in_vain != Some(look.print);
        if let Some(error) = look.failed.take() {
            decided.failed.get_or_insert(error);
        }
        let forced = self.forced.load(Ordering::SeqCst) || decided.failed.is_some();
        look.readable = may || forced;
        if look.readable {
            self.signal.set();
        } else {
            self.signal.clear();
        }
        decided.readable = look.readable;
        look
    }

    /// As `update`; one that is unreadable afterwards is announced to senders.
    pub(super) fn tend(&self, in_vain: Option<u64>) -> Look {
        let readable = locked(&self.decided).readable;
        if readable {
            let look = self.update(in_vain);
            if look.readable {
                return look;
            }
        }
        let flag = self.group.topic.block.head.word32(words::GROUPS_EVENT);
        EventCount::prepare(flag);
        self.update(in_vain)
    }

    /// What the bridge does besides: looks for the dead while anything is leased.
    pub(super) fn beat(&self) -> Look {
        let look = self.tend(None);
        let store = &self.group.topic.store;
        if look.leased {
            store.notice_dead(PROBE_MS, &self.group);
        }
        look
    }

    /// What a look met and nobody was told of.
    pub(super) fn take_failed(&self) -> Option<Error> {
        locked(&self.decided).failed.take()
    }

    pub(super) fn has_failed(&self) -> bool {
        locked(&self.decided).failed.is_some()
    }

    /// Readable whatever the group holds, while this says so. Asked under the lock: whoever asks
    /// last has seen all that the others had done before.
    fn force(&self, wanted: impl FnOnce() -> bool) {
        let _decided = locked(&self.decided);
        let on = wanted();
        self.forced.store(on, Ordering::SeqCst);
        if on {
            self.signal.set();
        }
    }
}

impl Consumer {
    /// A descriptor that is readable while a receive of this consumer may return something, a
    /// message or an error, and not readable while none can: for `poll`, `epoll` and event loops.
    /// When it is readable, receive with a timeout of zero; another consumer may have been faster.
    /// A receive that empties the group clears it. It is not to be read or closed; it stays open,
    /// and readable, after the consumer was closed, until this value is dropped.
    ///
    /// The first one of a process starts a thread, which serves all of the store. It sleeps until
    /// something is sent or handed back, a lease or a delay ends, or, while anything is leased, for
    /// the 50 ms after which it asks whether its holder still lives (P10).
    ///
    /// ```
    /// # use libqueue::{ConsumerOptions, Message, Store, StoreOptions, TopicOptions};
    /// # use std::{os::fd::AsRawFd, time::Duration};
    /// # let folder = tempfile::TempDir::new().unwrap();
    /// # let store = Store::open(&folder.path().join("q"), StoreOptions::default())?;
    /// # let orders = store.topic("orders", &TopicOptions::default())?;
    /// let billing = orders.consumer("billing", &ConsumerOptions::default())?;
    /// let readable = billing.fd()?.as_raw_fd(); // give it to an event loop; when readable:
    /// for delivery in billing.receive(10, Some(Duration::ZERO))? {
    ///     billing.ack(&[delivery.receipt()])?;
    /// }
    /// # assert!(readable >= 0);
    /// # Ok::<(), libqueue::Error>(())
    /// ```
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        self.check()?;
        if self.watch.get().is_none() {
            self.begin_watch()?;
        }
        match self.watch.get() {
            Some(watch) => Ok(watch.signal.fd()),
            None => Err(Error::new(ErrorKind::Internal, "no descriptor was made")),
        }
    }

    fn begin_watch(&self) -> Result<()> {
        let store = &self.group.topic.store;
        let mut bridge = locked(&store.bridge);
        if self.watch.get().is_some() {
            return Ok(());
        }
        let watch = Arc::new(Watch::new(&self.group)?);
        let bridge = match &mut *bridge {
            Some(bridge) => bridge,
            none => none.insert(Bridge::start(store)?),
        };
        bridge.watch(store, &watch);
        let _ = self.watch.set(watch);
        self.force_readable();
        Ok(())
    }

    /// Its watch; not in the child of a fork, where the locks may be held by threads that are not
    /// there.
    fn watching(&self) -> Option<&Arc<Watch>> {
        let watch = self.watch.get()?;
        self.group.topic.store.check_open().is_ok().then_some(watch)
    }

    /// After there is an error to be told of, or one less, or the consumer hands out nothing more.
    pub(super) fn force_readable(&self) {
        if let Some(watch) = self.watching() {
            watch.force(|| !self.hands_out() || self.has_untold());
        }
    }

    /// After a receive: what its descriptor is to say. Whether there may be something although the
    /// receive found nothing; then the caller looks again, once.
    pub(super) fn tell_watch(&self, found_nothing: bool) -> Option<u64> {
        let watch = self.watching()?;
        let look = watch.tend(None);
        self.hurry(&look);
        (found_nothing && look.may).then_some(look.print)
    }

    /// After that second look, which found nothing either: what is there cannot be received, and
    /// is no reason to be readable before something changes.
    pub(super) fn tell_watch_in_vain(&self, print: u64) {
        if let Some(watch) = self.watching() {
            let look = watch.tend(Some(print));
            self.hurry(&look);
        }
    }

    /// Has the bridge look again if it meant to sleep for longer than what was found allows.
    fn hurry(&self, look: &Look) {
        let store = &self.group.topic.store;
        let now = store.env.clock.boot_ms();
        if let Some(bridge) = &*locked(&store.bridge) {
            bridge.hurry(look.again_ms(now));
        }
    }

    /// Something of the group falls due earlier than was known.
    pub(super) fn stir_watch(&self) {
        if self.watching().is_some()
            && let Some(bridge) = &*locked(&self.group.topic.store.bridge)
        {
            bridge.hurry(0);
        }
    }

    /// The consumer hands out nothing more: whoever waits on the descriptor is to be told so.
    pub(super) fn unwatch(&self) {
        if let Some(watch) = self.watching() {
            let store = &self.group.topic.store;
            if let Some(bridge) = &*locked(&store.bridge) {
                bridge.unwatch(store, watch);
            }
            watch.force(|| true);
        }
    }
}
