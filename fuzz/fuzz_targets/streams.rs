//! Whatever a stream holds, a wire reads it or says why not; nothing that was said is taken back.

#![no_main]

mod wires;

use libfuzzer_sys::fuzz_target;
use vision_providers::draft::Draft;
use vision_providers::frames::Frames;
use vision_providers::request::ModelId;

fuzz_target!(|stream: &[u8]| {
    for wire in wires::all() {
        let mut frames = Frames::new(wire.framing());
        let Ok(mut events) = frames.push(stream) else { continue };
        events.extend(frames.end());
        let mut draft = Draft::default();
        let mut said = 0;
        for event in events {
            if wire.read_event(&event, &mut draft).is_err() || draft.finish.is_some() {
                break;
            }
            assert!(draft.spoken().len() >= said && draft.spoken().is_char_boundary(said), "something was taken back");
            said = draft.spoken().len();
        }
        if let Ok(answer) = draft.answer(&ModelId::from("m")) {
            assert!(!answer.text.trim().is_empty(), "nothing was taken for an answer");
        }
    }
});
