//! How bytes are split into packets must not change which events they are.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vision_providers::frames::{Event, Frames, Framing};

fn events(framing: Framing, bytes: &[u8], piece: usize) -> Option<Vec<Event>> {
    let mut frames = Frames::new(framing);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        events.extend(frames.push(piece).ok()?);
    }
    events.extend(frames.end());
    Some(events)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    for framing in [Framing::Events, Framing::Lines] {
        let pieces = events(framing, bytes, usize::from(piece).max(1));
        assert_eq!(pieces, events(framing, bytes, bytes.len().max(1)));
    }
});
