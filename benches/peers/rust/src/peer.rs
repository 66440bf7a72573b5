//! What a peer has to be able to do for the works, and the table of those that are there.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Between two looks at a queue that cannot wake its consumers. Shorter looks more often than a
/// message comes; longer shows in the latency.
const LOOK: Duration = Duration::from_micros(50);

/// How a run wants the peer set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Empty when the run begins; the peer's alone.
    pub(crate) dir: PathBuf,
    /// Every send is to survive a loss of power.
    pub(crate) sync: bool,
    /// Bytes of each message.
    pub(crate) size: usize,
    /// Messages of the whole run.
    pub(crate) count: usize,
    /// Messages that are sent or taken at once.
    pub(crate) batch: usize,
}

/// Whether a peer can be run here.
pub(crate) enum Installed {
    Yes {
        version: String,
    },
    No {
        /// What is missing, in one sentence.
        reason: String,
    },
}

/// A system that a user could pick instead of libqueue.
pub(crate) trait Peer: Sync {
    fn name(&self) -> &'static str;
    fn installed(&self) -> Installed;
    /// What a message that was sent survives with this set-up: "none", "process" or "sync".
    fn durability(&self, sync: bool) -> &'static str;
    /// The works it can do, of "W1" to "W7".
    fn works(&self) -> &'static [&'static str];
    /// What it lacks.
    fn note(&self) -> Option<&'static str> {
        None
    }
    /// False where only threads of one process can share it.
    fn processes(&self) -> bool {
        true
    }
    /// What has to stand in the environment of a process before it uses the peer.
    fn environment(&self, _setup: &Setup) -> Vec<(&'static str, OsString)> {
        Vec::new()
    }
    /// Starts servers and makes the queue; what it returns is alive as long as the run.
    fn prepare(&self, setup: &Setup) -> Outcome<Box<dyn Prepared>>;
    fn sender(&self, setup: &Setup) -> Outcome<Box<dyn Sender>>;
    fn consumer(&self, setup: &Setup) -> Outcome<Box<dyn Consumer>>;
    /// How many messages it holds, after all senders are gone. Asked where nothing was consumed.
    fn held(&self, setup: &Setup) -> Outcome<u64>;
}

/// Dropping it ends the servers.
pub(crate) trait Prepared {}

/// Nothing runs.
impl Prepared for () {}

/// One producer.
pub(crate) trait Sender {
    fn send(&mut self, payload: &[u8]) -> Outcome<()>;
    fn send_batch(&mut self, payloads: &[&[u8]]) -> Outcome<()>;
    /// Whatever is still on its way is accepted when this returns.
    fn finish(&mut self) -> Outcome<()> {
        Ok(())
    }
}

/// One consumer of the one group.
pub(crate) trait Consumer {
    /// Up to `max` messages; waits at most `wait` for the first. Calls `each` with every payload
    /// and has acknowledged them all when it returns how many they were.
    fn take(&mut self, max: usize, wait: Duration, each: &mut dyn FnMut(&[u8])) -> Outcome<usize>;
}

/// Looks again and again until there is something, or the time is over.
pub(crate) fn look_until(
    wait: Duration,
    mut look: impl FnMut() -> Outcome<usize>,
) -> Outcome<usize> {
    let began = Instant::now();
    loop {
        let found = look()?;
        if found > 0 || began.elapsed() >= wait {
            return Ok(found);
        }
        std::thread::sleep(LOOK);
    }
}

/// The version of a crate as this program was built with it: what its lock file says.
pub(crate) fn locked_version(name: &str) -> String {
    let locked = include_str!("../Cargo.lock");
    let wanted = format!("name = \"{name}\"");
    let mut lines = locked.lines().skip_while(|line| *line != wanted).skip(1);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    version.unwrap_or("unknown").to_owned()
}
