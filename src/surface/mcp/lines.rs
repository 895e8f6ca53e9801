//! Lines of a stream that nobody bounds: those that are too long are passed over, and the id of whoever asked is kept.

use serde_json::Value;

/// A line that has ended.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    /// It was longer than is taken; the id of its request, when it had one.
    TooLong(Option<Value>),
}

/// Cuts a stream into lines without ever holding more than `largest` bytes of one.
pub(super) struct LineReader {
    largest: usize,
    line: Vec<u8>,
    /// Set while a line that is too long is being passed over.
    scanner: Option<IdScanner>,
}

impl LineReader {
    pub(super) fn new(largest: usize) -> Self {
        Self { largest, line: Vec::new(), scanner: None }
    }

    pub(super) fn take(&mut self, chunk: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.add(piece);
            if piece.ends_with(b"\n") {
                lines.push(match self.scanner.take() {
                    Some(scanner) => Line::TooLong(scanner.id()),
                    None => Line::Whole(std::mem::take(&mut self.line)),
                });
            }
        }
        lines
    }

    fn add(&mut self, piece: &[u8]) {
        if let Some(scanner) = &mut self.scanner {
            scanner.feed(piece);
        } else if self.line.len() + piece.len() <= self.largest {
            self.line.extend_from_slice(piece);
        } else {
            let mut scanner = IdScanner::default();
            scanner.feed(&std::mem::take(&mut self.line));
            scanner.feed(piece);
            self.scanner = Some(scanner);
        }
    }
}

/// Finds the `id` of a JSON object in passing, wherever it stands, without keeping the object.
#[derive(Debug, Default)]
struct IdScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The string or scalar that is being read at depth 1, as far as it is short.
    token: Vec<u8>,
    key: Vec<u8>,
    id: Option<Vec<u8>>,
}

impl IdScanner {
    const LONGEST: usize = 4096;

    fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            self.keep(byte);
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.token.clear();
                self.keep(byte);
            }
            b':' if self.depth == 1 => self.key = std::mem::take(&mut self.token),
            b',' if self.depth == 1 => self.end_member(),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_member();
                }
                self.depth = self.depth.saturating_sub(1);
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.token.len() < Self::LONGEST {
            self.token.push(byte);
        }
    }

    fn end_member(&mut self) {
        let value = std::mem::take(&mut self.token);
        if std::mem::take(&mut self.key) == b"\"id\"" {
            self.id = Some(value);
        }
    }

    fn id(self) -> Option<Value> {
        serde_json::from_slice(&self.id?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id_of(message: &Value) -> Option<Value> {
        let text = message.to_string();
        // Fed byte by byte, so that no boundary of chunks can matter.
        let mut lines = LineReader::new(10);
        let mut found = text.bytes().chain([b'\n']).flat_map(|byte| lines.take(&[byte])).collect::<Vec<_>>();
        match found.pop() {
            Some(Line::TooLong(id)) => id,
            other => panic!("expected one line that is too long, got {other:?}"),
        }
    }

    #[test]
    fn the_id_of_a_message_that_is_too_long_is_found_wherever_it_stands() {
        let filler = "x".repeat(300);
        assert_eq!(id_of(&json!({"id": 7, "params": {"id": 8, "image": filler}})), Some(json!(7)));
        assert_eq!(
            id_of(&json!({"a": [{"id": 1}], "zid": {"id": "no"}, "id": "call-\"1\""})),
            Some(json!("call-\"1\""))
        );
        assert_eq!(id_of(&json!({"method": "x", "note": "\"id\": 5, {[\\"})), None);
        let trailing = format!("{{\"params\":{{\"image\":\"{filler}\"}},\"id\" : -3 }}\n");
        assert_eq!(LineReader::new(10).take(trailing.as_bytes()), [Line::TooLong(Some(json!(-3)))]);
    }

    #[test]
    fn lines_around_one_that_is_too_long_are_read() {
        let stream = format!("{{\"a\":1}}\n{}\n{{\"b\":2}}\n", "y".repeat(5000));
        let mut lines = LineReader::new(100);
        let found: Vec<Line> = stream.as_bytes().chunks(7).flat_map(|chunk| lines.take(chunk)).collect();
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(found, [whole("{\"a\":1}\n"), Line::TooLong(None), whole("{\"b\":2}\n")]);
    }
}
