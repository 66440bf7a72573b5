//! Reading an input piece by piece: every input means something, one that ends early means zeros.

/// What is left of an input.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    pub(super) fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `many`; 0 if that is 0.
    pub(super) fn pick(&mut self, many: usize) -> usize {
        usize::from(self.u16()) % many.max(1)
    }

    /// A number that is likely to be wrong where a length, offset or position is expected.
    pub(super) fn odd_number(&mut self) -> u64 {
        let (kind, small) = (self.byte(), u64::from(self.byte()));
        match kind % 8 {
            0 => small,
            1 => u64::MAX - small,
            2 => 1 << (small % 64),
            3 => (1 << (small % 64)) - 1,
            4 => i64::MAX as u64 - small,
            5 => u64::from(u32::MAX) - small,
            6 => u64::from(self.u32()),
            _ => self.u64(),
        }
    }
}
