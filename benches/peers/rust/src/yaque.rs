//! yaque: a queue in files for one producer and one consumer, which may be two processes.
//!
//! It never syncs, and what was acknowledged is on disk after every 250 messages.

use std::error::Error;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{Either, select};
use futures_timer::Delay;
use yaque::queue::{Receiver, RecvGuard};
use yaque::{TryRecvError, TrySendError};

use crate::peer::{Consumer, Installed, Outcome, Peer, Prepared, Sender, Setup, locked_version};

pub(crate) static YAQUE: Yaque = Yaque;

pub(crate) struct Yaque;

impl Peer for Yaque {
    fn name(&self) -> &'static str {
        "yaque"
    }

    fn installed(&self) -> Installed {
        let version = locked_version("yaque");
        Installed::Yes { version }
    }

    fn durability(&self, sync: bool) -> &'static str {
        if sync { "none" } else { "process" }
    }

    fn works(&self) -> &'static [&'static str] {
        &["W1", "W2", "W4", "W5"]
    }

    fn note(&self) -> Option<&'static str> {
        Some("one producer and one consumer, never synced; acks are saved every 250 messages")
    }

    fn prepare(&self, _setup: &Setup) -> Outcome<Box<dyn Prepared>> {
        Ok(Box::new(()))
    }

    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>> {
        Ok(Box::new(Producer(yaque::Sender::open(&setup.dir)?)))
    }

    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>> {
        Ok(Box::new(Worker(Receiver::open(&setup.dir)?)))
    }

    fn held(&self, setup: &Setup) -> Outcome<u64> {
        let mut receiver = Receiver::open(&setup.dir)?;
        let mut held = 0;
        loop {
            match receiver.try_recv_batch_up_to(1000) {
                Ok(some) => {
                    held += some.len() as u64;
                    some.commit()?;
                }
                Err(TryRecvError::QueueEmpty) => return Ok(held),
                Err(TryRecvError::Io(why)) => return Err(why.into()),
            }
        }
    }
}

struct Producer(yaque::Sender);

impl Sender for Producer {
    fn send(&mut self, payload: &[u8]) -> Outcome<()> {
        self.0.try_send(payload).map_err(reason)
    }

    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()> {
        self.0.try_send_batch(payloads).map_err(reason)
    }
}

fn reason<T>(why: TrySendError<T>) -> Box<dyn Error> {
    match why {
        TrySendError::Io(why) => why.into(),
        TrySendError::QueueFull { .. } => "the queue is full, which has no limit".into(),
    }
}

struct Worker(Receiver);

impl Consumer for Worker {
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        if max == 1 {
            match self.0.try_recv() {
                Ok(one) => {
                    each(&one);
                    one.commit()?;
                    return Ok(1);
                }
                Err(TryRecvError::QueueEmpty) => {}
                Err(TryRecvError::Io(why)) => return Err(why.into()),
            }
        } else {
            match self.0.try_recv_batch_up_to(max) {
                Ok(some) => return settle(some, each),
                Err(TryRecvError::QueueEmpty) => {}
                Err(TryRecvError::Io(why)) => return Err(why.into()),
            }
        }
        // Woken by the kernel's word that the file has grown.
        let some = Box::pin(self.0.recv_batch_up_to(max));
        match block_on(select(some, Delay::new(wait))) {
            Either::Left((some, _)) => settle(some?, each),
            Either::Right(_) => Ok(0),
        }
    }
}

fn settle(some: RecvGuard<'_, Vec<Vec<u8>>>, each: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
    let count = some.len();
    some.iter().for_each(|payload| each(payload));
    some.commit()?;
    Ok(count)
}
