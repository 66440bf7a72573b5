//! Extending leases, up to the group's `max_lease`.

use std::cell::RefCell;
use std::time::Duration;

use super::consumer::Consumer;
use super::message::Receipt;
use super::receive_options::check_lease;
use crate::error::{Error, ErrorKind, Result};
use crate::group::Settled;

impl Consumer {
    /// The leases end `lease` from now on. Where the group has a `max_lease`, none ends later than
    /// that after its message was handed out: receipts for which it would are left as they are and
    /// named by [`Error::refused_places`] of an error of kind [`ErrorKind::InvalidArgument`]; and
    /// only the consumer that received a message extends it. [`ErrorKind::InvalidArgument`] also
    /// where the group hands out at most once.
    pub fn extend(&self, receipts: &[Receipt], lease: Duration) -> Result<()> {
        self.check_settles_later("extend")?;
        check_lease(lease)?;
        let clock = &self.group.topic.store.env.clock;
        let now = clock.boot_ms();
        let due = now + (lease.as_millis() as u64).max(1);
        let deadline_ns = clock.wall_ns().saturating_add(lease.as_nanos() as i64);
        let refused: RefCell<Vec<(Receipt, u64)>> = RefCell::default();
        let done = self.settle(receipts, "", |settling, _, receipt| {
            if self.is_closed() {
                return Settled::Stale;
            }
            let window = settling.window();
            let bound = self.leases.as_ref().and_then(|l| l.bound(receipt));
            if let Some(bound) = bound.filter(|bound| *bound < due) {
                if !window.is_current(receipt.id.offset, receipt.attempt) {
                    return Settled::Stale;
                }
                refused.borrow_mut().push((*receipt, bound));
                return Settled::Done;
            }
            window.extend(receipt.id.offset, receipt.attempt, due, self.slot)
        });
        let refused = refused.into_inner();
        if let Some(leases) = &self.leases {
            for receipt in receipts {
                if !refused.iter().any(|(one, _)| one == receipt) {
                    leases.extended(receipt, due, deadline_ns);
                }
            }
        }
        // A shorter lease may be the next that ends.
        self.stir_watch();
        if refused.is_empty() {
            return done;
        }
        let is_refused = |place: &usize| refused.iter().any(|(one, _)| *one == receipts[*place]);
        let places: Vec<usize> = (0..receipts.len()).filter(is_refused).collect();
        let (_, bound) = refused[0];
        Err(match done {
            Err(error) if error.kind() == ErrorKind::StaleReceipt => error.with_refused(places),
            Err(error) => error,
            Ok(()) => self
                .too_long(lease, bound, now, receipts.len())
                .with_refused(places),
        })
    }

    #[cold]
    fn too_long(&self, lease: Duration, bound: u64, now: u64, of: usize) -> Error {
        let group = &self.group.name;
        let max = self.leases.as_ref().and_then(|leases| leases.max());
        let max = max.unwrap_or_default();
        let message = if bound == 0 {
            format!(
                "group {group:?} has a max_lease of {max:?}, and this consumer did not receive \
                 the message; let the one that did extend its lease"
            )
        } else {
            let left = Duration::from_millis(bound.saturating_sub(now));
            format!(
                "a lease of {lease:?} from now on would end after the max_lease of group \
                 {group:?}, {max:?} since the hand-out; expected at most {left:?} for the first \
                 of those that were refused, of {of} receipts; the others were extended"
            )
        };
        Error::new(ErrorKind::InvalidArgument, message)
    }
}
