//! Why some bytes are no JSON, in the words of Go's scanner; clients compare them.

/// The message for bytes that are no JSON; `None` where they are.
pub(super) fn explain(bytes: &[u8]) -> Option<String> {
    let mut scanner = Scanner { bytes, at: 0, depth: 0 };
    match scanner.document() {
        Ok(()) => None,
        Err(Problem::End) => Some("unexpected end of JSON input".to_owned()),
        Err(Problem::Depth) => Some("exceeded max depth".to_owned()),
        Err(Problem::Character(byte, place)) => {
            Some(format!("invalid character {} {place}", character(byte)))
        }
    }
}

enum Problem {
    End,
    Depth,
    Character(u8, &'static str),
}

fn character(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\n' => "'\\n'".to_owned(),
        b'\r' => "'\\r'".to_owned(),
        b'\t' => "'\\t'".to_owned(),
        b'\\' => "'\\\\'".to_owned(),
        byte if byte < 0x20 || byte == 0x7f => format!("'\\x{byte:02x}'"),
        byte => format!("'{}'", char::from(byte)),
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// More than a document of the API ever has; the reader itself stops earlier.
const MAX_DEPTH: usize = 10_000;

impl Scanner<'_> {
    fn next(&mut self) -> Result<u8, Problem> {
        let byte = *self.bytes.get(self.at).ok_or(Problem::End)?;
        self.at += 1;
        Ok(byte)
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn document(&mut self) -> Result<(), Problem> {
        self.value()?;
        self.space();
        match self.bytes.get(self.at) {
            None => Ok(()),
            Some(byte) => Err(Problem::Character(*byte, "after top-level value")),
        }
    }

    /// A loop over an explicit stack, so that no input can exhaust the thread's.
    fn value(&mut self) -> Result<(), Problem> {
        let mut stack: Vec<u8> = Vec::new();
        loop {
            self.space();
            let byte = self.next()?;
            match byte {
                b'{' | b'[' => {
                    self.depth = stack.len() + 1;
                    if self.depth > MAX_DEPTH {
                        return Err(Problem::Depth);
                    }
                    stack.push(byte);
                    self.space();
                    let close = if byte == b'{' { b'}' } else { b']' };
                    if self.bytes.get(self.at) == Some(&close) {
                        self.at += 1;
                        stack.pop();
                    } else if byte == b'{' {
                        self.key("looking for beginning of object key string")?;
                        continue;
                    } else {
                        continue;
                    }
                }
                b'"' => self.string()?,
                b'-' | b'0'..=b'9' => self.number(byte)?,
                b't' => self.word(b"rue", "true")?,
                b'f' => self.word(b"alse", "false")?,
                b'n' => self.word(b"ull", "null")?,
                byte => return Err(Problem::Character(byte, "looking for beginning of value")),
            }
            if self.after(&mut stack)? {
                return Ok(());
            }
        }
    }

    /// What follows a value; whether the outermost one is complete.
    fn after(&mut self, stack: &mut Vec<u8>) -> Result<bool, Problem> {
        loop {
            let Some(open) = stack.last().copied() else { return Ok(true) };
            self.space();
            match (open, self.next()?) {
                (b'{', b',') => {
                    self.space();
                    self.key("looking for beginning of object key string")?;
                    return Ok(false);
                }
                (b'[', b',') => return Ok(false),
                (b'{', b'}') | (b'[', b']') => drop(stack.pop()),
                (b'{', byte) => return Err(Problem::Character(byte, "after object key:value pair")),
                (_, byte) => return Err(Problem::Character(byte, "after array element")),
            }
        }
    }

    fn key(&mut self, place: &'static str) -> Result<(), Problem> {
        match self.next()? {
            b'"' => self.string()?,
            byte => return Err(Problem::Character(byte, place)),
        }
        self.space();
        match self.next()? {
            b':' => Ok(()),
            byte => Err(Problem::Character(byte, "after object key")),
        }
    }

    fn string(&mut self) -> Result<(), Problem> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let byte = self.next()?;
                            if !byte.is_ascii_hexdigit() {
                                return Err(Problem::Character(byte, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    byte => return Err(Problem::Character(byte, "in string escape code")),
                },
                byte if byte < 0x20 => return Err(Problem::Character(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn number(&mut self, first: u8) -> Result<(), Problem> {
        let mut digit = first;
        if first == b'-' {
            digit = self.next()?;
            if !digit.is_ascii_digit() {
                return Err(Problem::Character(digit, "in numeric literal"));
            }
        }
        if digit != b'0' {
            self.digits();
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            let byte = self.next()?;
            if !byte.is_ascii_digit() {
                return Err(Problem::Character(byte, "after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let mut byte = self.next()?;
            if matches!(byte, b'+' | b'-') {
                byte = self.next()?;
            }
            if !byte.is_ascii_digit() {
                return Err(Problem::Character(byte, "in exponent of numeric literal"));
            }
            self.digits();
        }
        Ok(())
    }

    fn word(&mut self, rest: &[u8], word: &str) -> Result<(), Problem> {
        for expected in rest {
            let byte = self.next()?;
            if byte != *expected {
                let place = match (word, *expected) {
                    ("true", b'r') => "in literal true (expecting 'r')",
                    ("true", b'u') => "in literal true (expecting 'u')",
                    ("true", _) => "in literal true (expecting 'e')",
                    ("false", b'a') => "in literal false (expecting 'a')",
                    ("false", b'l') => "in literal false (expecting 'l')",
                    ("false", b's') => "in literal false (expecting 's')",
                    ("false", _) => "in literal false (expecting 'e')",
                    (_, b'u') => "in literal null (expecting 'u')",
                    (_, _) => "in literal null (expecting 'l')",
                };
                return Err(Problem::Character(byte, place));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_is_explained_as_go_does() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("apiVersion: v1", "invalid character 'a' looking for beginning of value"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("trie", "invalid character 'i' in literal true (expecting 'u')"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("01", "invalid character '1' after top-level value"),
            ("-a", "invalid character 'a' in numeric literal"),
        ];
        for (text, message) in cases {
            assert_eq!(explain(text.as_bytes()).as_deref(), Some(message), "{text}");
        }
        assert_eq!(explain(br#"{"a":[1,-2.5e3,{"b":null}],"c":"\u00e9"}"#), None);
        assert_eq!(explain("[".repeat(20_000).as_bytes()).as_deref(), Some("exceeded max depth"));
    }
}
