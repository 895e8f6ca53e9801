//! Cutting a stream of bytes into events: server-sent events, or lines of JSON.
//!
//! Pure and incremental: bytes may be split anywhere, in the middle of a character too. Ours rather than a library's,
//! because those at hand fail on fields they do not know and on broken UTF-8, and bound nothing: a paid answer must not
//! be lost for a stray byte, nor memory for a line without an end.

use crate::error::{Error, ErrorKind, Result};

/// How a wire divides a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON document on each line.
    Lines,
    /// The vendor does not stream: the answer comes in one piece.
    Whole,
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Names that vendors give to events stand inside the data too.
    pub data: String,
}

/// An event that is longer than this is no piece of text.
const LONGEST: usize = 1 << 20;

/// Collects bytes until they make events.
#[derive(Debug)]
pub struct Frames {
    framing: Framing,
    /// The line that has not ended.
    line: Vec<u8>,
    /// The event that has not ended.
    open: Event,
    has_data: bool,
    after_return: bool,
    begun: bool,
}

impl Frames {
    /// Nothing collected.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let (line, open) = (Vec::new(), Event::default());
        Self { framing, line, open, has_data: false, after_return: false, begun: false }
    }

    /// Takes bytes and gives the events that they complete.
    ///
    /// # Errors
    /// [`ErrorKind::Garbled`] for a line or event without an end.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for &byte in bytes {
            let ends = matches!(byte, b'\n' | b'\r');
            // CR, LF and CRLF each end a line.
            let second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            if !ends {
                self.line.push(byte);
            } else if !second_half {
                events.extend(self.end_line());
            }
            if self.line.len() + self.open.data.len() > LONGEST {
                let message = format!("reading the stream: an event is longer than {LONGEST} bytes");
                return Err(Error::new(ErrorKind::Garbled, message));
            }
        }
        Ok(events)
    }

    /// The event that the end of the stream completes: some servers leave out the last line break.
    pub fn end(&mut self) -> Option<Event> {
        let last = self.end_line();
        last.or_else(|| self.end_event())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        let line = if self.begun { &line } else { line.trim_start_matches('\u{feff}') };
        self.begun = true;
        match self.framing {
            Framing::Lines => (!line.trim().is_empty()).then(|| Event { data: line.trim().to_owned() }),
            _ if line.is_empty() => self.end_event(),
            _ => {
                self.field(line);
                None
            }
        }
    }

    fn end_event(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.open);
        std::mem::take(&mut self.has_data).then_some(event)
    }

    fn field(&mut self, line: &str) {
        // A colon at the start makes a comment, which servers send to show that they are alive.
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        if name == "data" {
            if self.has_data {
                self.open.data.push('\n');
            }
            self.open.data.push_str(value);
            self.has_data = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, bytes: &[u8], piece: usize) -> Vec<String> {
        let mut frames = Frames::new(framing);
        let mut events = Vec::new();
        for piece in bytes.chunks(piece) {
            events.extend(frames.push(piece).expect("events"));
        }
        events.extend(frames.end());
        events.into_iter().map(|event| event.data).collect()
    }

    fn check(framing: Framing, stream: &[u8], expected: &[&str]) {
        for piece in 1..=stream.len() {
            let found = read(framing, stream, piece);
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_split() {
        let stream = "\u{feff}: heartbeat\n\ndata: é漢🙂\n\nevent: ping\ndata: {}\n\ndata:one\ndata: two\nid: 7\nretry: x\nodd\n\n";
        check(Framing::Events, stream.as_bytes(), &["é漢🙂", "{}", "one\ntwo"]);
    }

    #[test]
    fn each_kind_of_line_end_counts_once() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = ["data: a", "", "data: b", "", ""].join(end);
            check(Framing::Events, stream.as_bytes(), &["a", "b"]);
        }
    }

    #[test]
    fn a_missing_last_line_break_loses_nothing() {
        check(Framing::Events, b"data: a\n\ndata: b", &["a", "b"]);
        check(Framing::Lines, b"{\"a\":1}\n\n {\"b\":2}", &["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn broken_utf8_is_replaced_and_nothing_is_an_event_without_data() {
        check(Framing::Events, b"data: a\xffb\n\nevent: x\n\n\n\n", &["a\u{fffd}b"]);
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut frames = Frames::new(Framing::Events);
        assert!((0..64).any(|_| frames.push(&vec![b'x'; 32 << 10]).is_err()));
        let mut frames = Frames::new(Framing::Events);
        let line = [b"data: ".as_slice(), &vec![b'x'; 32 << 10], b"\n"].concat();
        assert!((0..64).any(|_| frames.push(&line).is_err()), "an event without an end");
    }
}
