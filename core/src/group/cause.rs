//! Why a message is dying, kept with it until its dead letter is written (P10, P12): whoever writes
//! the letter may be another process than the one that knows more.

use super::entry::Entries;
use crate::format::window::cause;

/// Why a message failed for the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Cause {
    /// Whoever had it die was killed before he wrote it, or an earlier build did not write it.
    Unknown = cause::UNKNOWN,
    /// Its consumer said so.
    Nack = cause::NACK,
    /// Somebody gave it up.
    GivenUp = cause::GIVEN_UP,
    /// Its lease ran out.
    LeaseEnded = cause::LEASE_ENDED,
    /// Its consumer's process died, and others found that.
    Died = cause::DIED,
    /// All processes of the store ended, its consumer's with them.
    AllEnded = cause::ALL_ENDED,
    /// The host was started anew.
    HostRestarted = cause::HOST_RESTARTED,
    /// It never failed: it was too late to be handed out.
    TooLate = cause::TOO_LATE,
    /// Retention was about to take it.
    Retention = cause::RETENTION,
}

impl Cause {
    /// Of a number that was read; one that is none of them is unknown (P18).
    pub(super) fn of(number: u64) -> Self {
        let all = [
            Self::Nack,
            Self::GivenUp,
            Self::LeaseEnded,
            Self::Died,
            Self::AllEnded,
            Self::HostRestarted,
            Self::TooLate,
            Self::Retention,
        ];
        let found = all.into_iter().find(|cause| *cause as u64 == number);
        found.unwrap_or(Self::Unknown)
    }
}

/// The cause takes the highest bits of the time since when a message is dying.
const SHIFT: u32 = 44;
const SINCE: u64 = (1 << SHIFT) - 1;

impl Entries {
    /// Of a message that is about to be dying: since when, and why.
    pub(super) fn set_dying(&self, index: u32, now_ms: u64, cause: Cause, consumer: u16) {
        let since = now_ms.min(SINCE) | (cause as u64) << SHIFT;
        self.set_lease(index, since, consumer);
    }

    /// Of a dying message: since when, in ms of the boot clock.
    pub(super) fn dying_since_ms(&self, index: u32) -> u64 {
        self.due_ms(index) & SINCE
    }

    /// Of a dying message: why.
    pub(super) fn cause(&self, index: u32) -> Cause {
        Cause::of(self.due_ms(index) >> SHIFT)
    }
}
