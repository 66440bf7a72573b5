//! Bytes that are no text, in a text.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The bytes as base64, padded.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or_default());
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let value = word >> (18 - 6 * digit) & 63;
            let used = digit <= three.len();
            text.push(char::from(if used { DIGITS[value as usize] } else { b'=' }));
        }
    }
    text
}

/// The bytes of a padded base64; `None` where it is not what `encode` gives for any.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3);
    for four in digits.chunks(4) {
        let mut word = 0;
        for digit in 0..4 {
            let value = match four.get(digit) {
                Some(digit) => DIGITS.iter().position(|known| known == digit)?,
                None => 0,
            };
            word = word << 6 | value as u32;
        }
        let whole = word.to_be_bytes();
        bytes.extend_from_slice(&whole[1..four.len()]);
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p18_bytes_come_back_and_what_is_no_base64_is_none() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"\xFF\x00\xFE\x01", "/wD+AQ=="),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
        for bad in [
            "Z", "Zg", "Zg=", "Zg===", "Zh==", "Z g=", "====", "Zg==Zg==", "Zm9-",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
