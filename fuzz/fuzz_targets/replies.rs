//! Whatever body comes back, with whatever status, a wire answers or says why not; nothing is never an answer.

#![no_main]

mod wires;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use libfuzzer_sys::fuzz_target;
use vision_providers::request::Task;
use vision_providers::testkit::request;
use vision_providers::wire::Incoming;

fuzz_target!(|input: (u16, &[u8])| {
    let (status, body) = input;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let reply = Incoming { status, headers: HeaderMap::new(), body: Bytes::copy_from_slice(body) };
    for wire in wires::all() {
        for task in Task::ALL {
            if let Ok(answer) = wire.read(&request("m", task), &reply) {
                assert!(!answer.text.trim().is_empty(), "nothing was taken for an answer");
            }
        }
        let _ = wire.read_error(&reply).to_string();
    }
});
