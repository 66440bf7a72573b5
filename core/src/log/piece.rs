//! Pages for what is sent durably.
//!
//! The disk has blocks for all of a segment, of which nothing was written at first. A sync that is
//! the first to write into some has the file system write down in its journal that it did, and
//! takes up to half as long again. So pages are made a piece at a time, and written with the next
//! sync as they are: the journal is asked once for each piece, and not for each page. Where the
//! mark comes to a piece by a sync of another kind, its pages are made one by one, as without this.

use super::{NONE, Partition};

/// The bytes of a piece: what a sender of small messages writes durably in 5 to 50 milliseconds.
const PIECE: u64 = 64 << 10;
/// Who puts as much on disk with one sync gains little, and each page would be written twice.
const MUCH: u64 = PIECE / 4;

/// How many bytes are made behind this position, before it is synced, where what is on disk ends at
/// the other one: the rest of a piece that is come to. None of a segment's first piece, since maybe
/// nothing follows in it (P19).
fn rest_of_piece(on_disk: u64, position: u64) -> Option<usize> {
    let comes_to_another = on_disk / PIECE < position / PIECE;
    let is_little = position.saturating_sub(on_disk) < MUCH;
    (comes_to_another && is_little).then_some((PIECE - position % PIECE) as usize)
}

impl Partition {
    /// Before a sync as far as this, with its lock held. No byte changes, whoever dies in between.
    pub(super) fn make_piece(&self, base: u64, position: u64) {
        let (marked, on_disk, _) = self.block.mark();
        if base != NONE
            && marked == base
            && let Some(len) = rest_of_piece(on_disk, position)
            && let Some(active) = self.peek(base)
        {
            active.map().populate(position as usize, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MUCH, PIECE, rest_of_piece};

    #[test]
    fn p19_each_piece_but_the_first_is_made_once_when_it_is_come_to() {
        for step in [40, 136, 1064, 4136, MUCH - 8] {
            let (mut made, mut end) = (0, PIECE);
            for position in (step..PIECE * 20).step_by(step as usize) {
                let Some(len) = rest_of_piece(position - step, position) else {
                    assert!(position < end + step, "{position} was not made, by {step}");
                    continue;
                };
                assert!(position >= end, "{position} was made before, by {step}");
                (made, end) = (made + 1, position + len as u64);
                assert!(end.is_multiple_of(PIECE) && len as u64 <= PIECE);
            }
            assert_eq!(made, 19, "by {step}");
        }
    }

    #[test]
    fn p19_nothing_is_made_for_what_is_sent_once_or_much_at_a_time() {
        assert_eq!(rest_of_piece(4096, 4096 + 136), None);
        assert_eq!(rest_of_piece(PIECE, PIECE), None);
        // A mark that is ahead, as one who writes into `control` leaves it.
        assert_eq!(rest_of_piece(u64::MAX, PIECE * 3), None);
        for much in [MUCH, PIECE, PIECE * 7] {
            assert_eq!(rest_of_piece(PIECE * 3 - 8, PIECE * 3 - 8 + much), None);
        }
    }
}
