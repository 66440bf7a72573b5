//! As much of JSON as a filter needs: short texts of a person's or a program's, read whole, with
//! the byte at which they are none. A member that is named twice is an error, and numbers are told
//! apart from the rest, not read.

/// A value; of numbers and null only that they are.
#[derive(Debug, PartialEq)]
pub(super) enum Json {
    Text(String),
    Flag(bool),
    List(Vec<Json>),
    /// In the order in which they are written; no name comes twice.
    Object(Vec<(String, Json)>),
    Number,
    Null,
}

impl Json {
    /// What it is, in an error.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Flag(true) => "true",
            Self::Flag(false) => "false",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Number => "a number",
            Self::Null => "null",
        }
    }
}

/// Reads a text that holds one value, nested up to `deepest` times. An error says at which byte,
/// and what was expected.
pub(super) fn read(text: &str, deepest: usize) -> Result<Json, String> {
    let mut reader = Reader {
        text,
        at: 0,
        deepest,
    };
    let value = reader.value(0)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.expected("nothing behind the value")),
    }
}

/// Appends a text with its quotation marks.
pub(super) fn write_text(text: &str, into: &mut String) {
    into.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => into.extend(['\\', c]),
            '\u{0}'..='\u{1f}' => into.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => into.push(c),
        }
    }
    into.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    deepest: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let blank = |c| matches!(c, ' ' | '\t' | '\n' | '\r');
        self.at = self.text.len() - self.rest().trim_start_matches(blank).len();
        self.rest().bytes().next()
    }

    fn expected(&self, what: &str) -> String {
        let found = self.rest().chars().next();
        let found = found.map_or("its end".to_owned(), |c| format!("{c:?}"));
        format!("at byte {} it has {found}; expected {what}", self.at)
    }

    /// Goes on behind a byte, if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    fn must(&mut self, byte: u8, what: &str) -> Result<(), String> {
        match self.skip(byte) {
            true => Ok(()),
            false => Err(self.expected(what)),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        match self.peek() {
            Some(b'{' | b'[') if depth >= self.deepest => {
                let at = self.at;
                Err(format!(
                    "at byte {at} it is nested {depth} times, which is too deep"
                ))
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => {
                let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
                self.at = self.text.len() - self.rest().trim_start_matches(part).len();
                Ok(Json::Number)
            }
            _ => {
                let words = [
                    ("true", Json::Flag(true)),
                    ("false", Json::Flag(false)),
                    ("null", Json::Null),
                ];
                for (word, value) in words {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.expected("a value of JSON"))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        let mut found = Vec::new();
        self.at += 1;
        if self.skip(b']') {
            return Ok(Json::List(found));
        }
        loop {
            found.push(self.value(depth + 1)?);
            if !self.skip(b',') {
                self.must(b']', "',' or ']'")?;
                return Ok(Json::List(found));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut found: Vec<(String, Json)> = Vec::new();
        self.at += 1;
        if self.skip(b'}') {
            return Ok(Json::Object(found));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.expected("a name in quotation marks"));
            }
            let at = self.at;
            let name = self.string()?;
            if found.iter().any(|(known, _)| *known == name) {
                return Err(format!("at byte {at} it names {name:?} a second time"));
            }
            self.must(b':', "':'")?;
            let value = self.value(depth + 1)?;
            found.push((name, value));
            if !self.skip(b',') {
                self.must(b'}', "',' or '}'")?;
                return Ok(Json::Object(found));
            }
        }
    }

    /// A text, from its first quotation mark on.
    fn string(&mut self) -> Result<String, String> {
        let mut found = String::new();
        self.at += 1;
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(self.expected("the end of a text"));
            };
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(found);
                }
                '\\' => {
                    self.at += 1;
                    found.push(self.escaped()?);
                }
                '\u{0}'..='\u{1f}' => return Err(self.expected("such a character as \\u0000")),
                c => {
                    self.at += c.len_utf8();
                    found.push(c);
                }
            }
        }
    }

    /// What follows a backslash.
    fn escaped(&mut self) -> Result<char, String> {
        let plain = match self.rest().bytes().next() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.expected("one of \"\\/bfnrtu")),
        };
        self.at += 1;
        Ok(plain)
    }

    /// From the `u` of `\u0000` on; two of them where they are the halves of a pair.
    fn unicode(&mut self) -> Result<char, String> {
        let begin = self.at;
        let first = self.unit()?;
        let code = match first {
            0xD800..0xDC00 if self.rest().starts_with("\\u") => {
                self.at += 1;
                let second = self.unit()?;
                let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400);
                low.map_or(first, |low| 0x10000 + ((first - 0xD800) << 10) + low)
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| {
            format!("at byte {begin} it has half of a pair of UTF-16, expected both")
        })
    }

    fn unit(&mut self) -> Result<u32, String> {
        self.at += 1;
        let digits = self.rest().get(..4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(self.expected("four hexadecimal digits"));
        }
        let unit = u32::from_str_radix(digits, 16).unwrap_or_default();
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_texts_come_back_as_they_were() {
        let text = |text: &str| Json::Text(text.to_owned());
        let read = |text: &str| read(text, 3);
        assert_eq!(
            read(" \"a\\u00e9\\ud83d\\ude00\\n\\/\" "),
            Ok(text("aé😀\n/"))
        );
        let list = Json::List(vec![Json::Flag(true), Json::Null, Json::Number, text("")]);
        assert_eq!(read("[true,null, -1.5e+3 ,\"\"]"), Ok(list));
        let object = vec![("a".to_owned(), Json::Object(vec![]))];
        assert_eq!(read("{\"a\" : {}}"), Ok(Json::Object(object)));
        for odd in ["", "\"\\\u{1}\u{1f}\u{7f}é😀", "\n\r\t"] {
            let mut written = String::new();
            write_text(odd, &mut written);
            assert!(!written.contains('\n'), "one line");
            assert_eq!(read(&written), Ok(text(odd)));
        }
    }

    #[test]
    fn p18_what_is_no_json_is_an_error_that_says_at_which_byte() {
        for (bad, at, why) in [
            ("", 0, "its end"),
            ("{", 1, "its end; expected a name"),
            ("{\"a\"}", 4, "expected ':'"),
            ("{\"a\":1,}", 7, "expected a name"),
            ("{\"a\":1,\"a\":2}", 7, "a second time"),
            ("[1 2]", 3, "expected ',' or ']'"),
            ("[1]]", 3, "nothing behind"),
            ("\"a", 2, "its end; expected the end of a text"),
            ("\"\n\"", 1, "'\\n'"),
            ("\"\\x\"", 2, "one of"),
            ("\"\\u12g4\"", 3, "hexadecimal"),
            ("\"\\ud800\"", 2, "half of a pair"),
            ("\"\\ud800\\u0041\"", 2, "half of a pair"),
            ("nul", 0, "a value"),
            ("[[[[1]]]]", 3, "too deep"),
        ] {
            let told = read(bad, 3).expect_err(bad);
            assert!(told.contains(&format!("at byte {at} ")), "{bad}: {told}");
            assert!(told.contains(why), "{bad}: {told}");
        }
    }
}
