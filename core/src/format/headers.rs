//! The headers block of a record: count, then name and value of each.

use crate::error::{Error, ErrorKind, Result};

/// Appends the block of these headers to `into`; no headers take no bytes.
pub fn encode(headers: &[(&str, &[u8])], into: &mut Vec<u8>) -> Result<()> {
    if headers.is_empty() {
        return Ok(());
    }
    let count = u16::try_from(headers.len()).map_err(|_| {
        let found = headers.len();
        Error::new(
            ErrorKind::InvalidArgument,
            format!("{found} headers; expected at most 65535"),
        )
    })?;
    into.extend_from_slice(&count.to_le_bytes());
    for (name, value) in headers {
        let (Ok(name_len), Ok(value_len)) = (u16::try_from(name.len()), u32::try_from(value.len()))
        else {
            let message = format!(
                "a header has a name of {} and a value of {} bytes; expected at most 65535 and \
                 4294967295",
                name.len(),
                value.len()
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        };
        into.extend_from_slice(&name_len.to_le_bytes());
        into.extend_from_slice(&value_len.to_le_bytes());
        into.extend_from_slice(name.as_bytes());
        into.extend_from_slice(value);
    }
    Ok(())
}

/// Walks a block; ends early at bytes that are not one (P18).
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
    left: u16,
}

impl<'a> Headers<'a> {
    /// The headers of a block.
    #[must_use]
    pub fn new(block: &'a [u8]) -> Self {
        match block.split_first_chunk::<2>() {
            Some((count, rest)) => Self {
                rest,
                left: u16::from_le_bytes(*count),
            },
            None => Self { rest: &[], left: 0 },
        }
    }
}

impl Headers<'_> {
    /// Whether these bytes are a whole block and nothing else.
    #[must_use]
    pub fn is_whole(block: &[u8]) -> bool {
        let mut headers = Headers::new(block);
        let expected = usize::from(headers.left);
        block.is_empty() || (headers.by_ref().count() == expected && headers.rest.is_empty())
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (name_len, rest) = self.rest.split_first_chunk::<2>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*name_len).into())?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
        self.rest = rest;
        Some((std::str::from_utf8(name).ok()?, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_a_cut_block_ends_early() {
        let mut block = Vec::new();
        let headers: [(&str, &[u8]); 2] = [("trace", b"42"), ("", b"")];
        encode(&headers, &mut block).expect("small");
        assert!(Headers::new(&block).eq(headers));
        for len in 0..block.len() {
            assert!(Headers::new(&block[..len]).count() < 2, "cut at {len}");
        }
    }
}
