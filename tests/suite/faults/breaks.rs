//! A backend that hangs, drips, floods and breaks: cases 25 to 42, but for those that need traffic.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use vision_providers::testkit::{Play, Then, Upstream};
use visiongate::failure::Failure;
use visiongate::gateway::Ask;
use visiongate::reply::Reply;

use super::{HASTY, Lab, NEVER_OPENS, about_a_dot, answered_by_b, asker, outcomes, question, reply, says, text};
use crate::http::{Server, locally};
use crate::{completion, config_file};

const SECOND: Duration = Duration::from_secs(1);
const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
/// What lies in the buffers of two sockets does not count as read.
const BUFFERS: usize = 10 << 20;

/// A piece of a streamed answer.
fn event(text: &str, finish: &Value) -> String {
    let choice = json!({"index": 0, "delta": {"content": text}, "finish_reason": finish});
    format!("data: {}\n\n", json!({"model": "m", "choices": [choice]}))
}

fn half(text: &str) -> String {
    event(text, &Value::Null)
}

/// A stream of these pieces.
fn stream(pieces: &[&str], then: Then) -> Play {
    let kind = ("content-type", "text/event-stream".to_owned());
    Play::Pieces(vec![kind], pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect(), then)
}

/// Asks while somebody listens; what was heard, and the reply.
async fn aloud(lab: &Lab, ask: &Ask) -> (String, Result<Reply, Failure>) {
    let (listener, mut said) = mpsc::channel(1000);
    let asker = asker();
    let reply = lab.gateway.ask_aloud(ask, &asker, &listener).await;
    drop(listener);
    let mut heard = String::new();
    while let Some(piece) = said.recv().await {
        heard.push_str(&piece);
    }
    (heard, reply)
}

/// Cases 25, 27 to 30. An answer in one piece may be silent until its end, so its bound is that of the attempt; a stream
/// may not.
#[tokio::test]
async fn whoever_hangs_is_left_in_time_and_somebody_else_answers() {
    let bytes = |head: &str| Play::Drip(head.as_bytes().to_vec(), Duration::ZERO, Then::Hang);
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n";
    let often = Duration::from_millis(20);
    let heartbeats = Play::Endless(EVENTS.into(), b": still here\n\n".to_vec(), Duration::from_millis(50));
    let mut endless_head = b"HTTP/1.1 200 OK\r\nx-a: ".to_vec();
    endless_head.extend([b'a'; 5000]);
    // The longest that each is waited for: an attempt has 700 ms, silence in a stream 300.
    let cases = [
        ("nothing", Play::Silence, 700),
        ("only a head", bytes(ok), 700),
        ("half a body", bytes(&format!("{ok}{{\"choices\":")), 700),
        ("a stream that falls silent", stream(&[&half("A till ")], Then::Hang), 320),
        ("a stream that does not begin", bytes(EVENTS), 520),
        ("a slow body", Play::Endless(ok.into(), b" ".to_vec(), often), 700),
        ("a slow head", Play::Drip(endless_head, often, Then::Hang), 700),
        ("heartbeats", heartbeats, 700),
    ];
    join_all(cases.map(|(name, play, at_most)| async move {
        let lab = Lab::with([play], HASTY).await;
        let began = Instant::now();
        let answered = lab.ask(&question("What is it?")).await;
        let took = began.elapsed();
        answered_by_b(name, &lab, &answered, "timed_out");
        assert_eq!(lab.calls().0, 1, "{name}: it may have been billed");
        assert!(took < Duration::from_millis(at_most) + SECOND / 2, "{name}: {took:?}");
        assert!(lab.a.has_been_left(1, SECOND).await, "{name}: the socket stayed open");
    }))
    .await;
}

/// Cases 25 and 30, while somebody listens.
#[tokio::test]
async fn a_stream_that_says_nothing_does_not_keep_a_listener_waiting() {
    let heartbeats = Play::Endless(EVENTS.into(), b": still here\n\n".to_vec(), Duration::from_millis(50));
    for (name, play) in [("nothing", Play::Silence), ("heartbeats", heartbeats)] {
        let lab = Lab::with([play], HASTY).await;
        let began = Instant::now();
        let (heard, reply) = aloud(&lab, &question("What is it?")).await;
        assert_eq!(heard, "from b", "{name}");
        assert_eq!(outcomes(&reply.expect(name)), [("a/m", "timed_out"), ("b/m", "ok")], "{name}");
        assert!(began.elapsed() < Duration::from_millis(1200), "{name}: {:?}", began.elapsed());
        assert!(lab.a.has_been_left(1, SECOND).await, "{name}: the socket stayed open");
    }
}

/// Case 26.
#[tokio::test]
async fn when_everybody_hangs_there_is_an_error_before_the_time_is_over() {
    let deadline = "[deadline]\ntotal = \"1500ms\"\nattempt = \"5s\"\n";
    let lab = Lab::between("openai-compatible", [Play::Silence], [Play::Silence], deadline).await;
    let began = Instant::now();
    let failure = lab.ask(&question("What is it?")).await.expect_err("nobody answers");
    let took = began.elapsed();
    assert_eq!((failure.code.name(), lab.calls()), ("UPSTREAM_TIMEOUT", (1, 1)));
    assert!((1400..2000).contains(&took.as_millis()), "{took:?}");
    assert!(lab.a.has_been_left(1, SECOND).await && lab.b.has_been_left(1, SECOND).await);
}

/// Floods of every kind, with how a call ends that met one.
fn floods() -> [(&'static str, Play, &'static str); 4] {
    let piece = half(&"word ".repeat(200)).into_bytes();
    let body = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 1073741824\r\n\r\n").into_bytes();
    let junk = || vec![b'x'; 64 << 10];
    let flood = |head: Vec<u8>, again: Vec<u8>| Play::Endless(head, again, Duration::ZERO);
    [
        ("a stream without an end", flood(EVENTS.into(), piece), "garbled"),
        ("a body of a gigabyte", flood(body("200 OK"), junk()), "garbled"),
        ("an error of a gigabyte", flood(body("500 Oh"), junk()), "unavailable"),
        ("a line without an end", flood(format!("{EVENTS}data: ").into(), junk()), "garbled"),
    ]
}

/// Cases 31, 32 and 34.
#[tokio::test]
async fn floods_are_cut_off_soon_after_the_most_that_an_answer_may_be() {
    join_all(floods().map(|(name, play, expected)| async move {
        let lab = Lab::with([play], "").await;
        let began = Instant::now();
        let answered = lab.ask(&question("What is it?")).await;
        answered_by_b(name, &lab, &answered, expected);
        let calls = lab.calls().0;
        assert!(lab.a.has_been_left(calls, SECOND).await, "{name}: the socket stayed open");
        let written = lab.a.written();
        // A stream has an envelope around every word.
        assert!(written <= calls * ((2 << 20) + BUFFERS), "{name}: {written} bytes for {calls} calls");
        assert!(began.elapsed() < 5 * SECOND, "{name}: {:?}", began.elapsed());
    }))
    .await;
}

/// Cases 31, 32 and 34 as a machine sees them, and the callers beside.
#[tokio::test]
async fn floods_fill_no_memory_and_hold_up_nobody_else() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let plays: Vec<Play> = floods().into_iter().map(|(_, play, _)| play).collect();
        let (flooding, well) = (Upstream::start([says("well")].into_iter().chain(plays)).await, Upstream::start([says("well")]).await);
        let provider = |name: &str, upstream: &Upstream| {
            let url = upstream.url("/v1");
            format!("[providers.{name}]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{url}\"\n")
        };
        let (a, b) = (provider("a", &flooding), provider("b", &well));
        let config = format!("default = \"a\"\nfallback = [\"b\"]\n{a}{b}{NEVER_OPENS}[retry]\nattempts = 1\n");
        let file = config_file(folder.path(), &config);
        let server = Server::start(&[("VISIONGATE_CONFIG", file.display().to_string())]).await;
        let image = about_a_dot().images[0].clone();
        let asked = |model: &str| {
            let arguments = json!({"image": image, "prompt": "What?", "model": model, "cache": "bypass"});
            server.call("tools/call", json!({"name": "analyze_image", "arguments": arguments}))
        };
        asked("a").await;
        let before = most_memory(&server);
        for (name, ..) in floods() {
            let beside = async {
                let began = Instant::now();
                let answer = asked("b").await;
                (answer["result"]["structuredContent"]["text"].clone(), began.elapsed())
            };
            let (flooded, (text, took)) = join(asked("a"), beside).await;
            let flooded = &flooded["result"]["structuredContent"];
            assert_eq!((&flooded["text"], &flooded["provider"]), (&json!("well"), &json!("b")), "{name}");
            assert!(text == "well" && took < 2 * SECOND, "{name}: {took:?}");
        }
        let risen = most_memory(&server) - before;
        assert!(risen <= 16 << 10, "{risen} KiB more");
    })
    .await;
}

/// The most that a process ever had in memory, in KiB.
fn most_memory(server: &Server) -> i64 {
    let id = server.child.id().expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// Text in gzip, as it is on the wire.
const PACKED: &str = "1f8b08000000000002030dc9410a80300c04c0bfecd917f42b2252e26a8b9814935be8df75ae9390665de8286be2a17bbd889210d3a0060a46959b07e682b36bf7b6bfac6efa8f870dcc6d7e7f2e140745000000";
/// Four megabytes of spaces: these bytes, 4063 zeros, and those.
const BOMB: [&str; 2] = ["1f8b0800000000000203edc18100000000c32095f9531ee45501", "7c1b153efafc00004000"];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("a number");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Case 33. Nobody asked for compression, so what is compressed is no answer, and is not unpacked to find out.
#[tokio::test]
async fn what_is_packed_is_not_unpacked() {
    let packed = bytes(PACKED);
    // Members may stand one behind the other: 200 of them are 800 MB.
    let bomb = [bytes(BOMB[0]), vec![0; 4063], bytes(BOMB[1])].concat().repeat(200);
    let as_gzip =
        |encoding: &str, body: &[u8]| Play::Raw(reply(&format!("200 OK\r\ncontent-encoding: {encoding}"), body));
    let cases = [
        ("packed", as_gzip("gzip", &packed)),
        ("cut", as_gzip("gzip", &packed[..40])),
        ("a bomb", as_gzip("gzip", &bomb)),
        ("unheard of", as_gzip("zap", b"\x01\x02\x03")),
    ];
    join_all(cases.map(|(name, play)| async move {
        let lab = Lab::with([play], HASTY).await;
        answered_by_b(name, &lab, &lab.ask(&question("What is it?")).await, "garbled");
        assert!(!lab.a.received()[0].headers.contains("accept-encoding"), "{name}");
    }))
    .await;
    // A name for no packing at all is no reason to fail.
    let lab = Lab::with([as_gzip("identity", completion("well").to_string().as_bytes())], HASTY).await;
    assert_eq!(text(&lab.ask(&question("What is it?")).await.expect("an answer")), "well");
}

/// Case 35.
#[tokio::test]
async fn half_a_stream_is_never_a_whole_answer_and_never_remembered() {
    let piece = half("A till ");
    let cut = piece.split_at(30).0;
    let cases = [
        ("nonsense", stream(&["data: {{{\n\n"], Then::End)),
        ("nothing", stream(&[], Then::End)),
        ("no last word", stream(&[&piece], Then::End)),
        ("cut in a line", stream(&[&piece, cut], Then::End)),
        ("broken in a line", stream(&[&piece, cut], Then::Break)),
        ("broken", stream(&[&piece], Then::Break)),
        ("only an end", stream(&["data: [DONE]\n\n"], Then::End)),
    ];
    join_all(cases.map(|(name, play)| async move {
        let lab = Lab::with([play], HASTY).await;
        let ask = Ask { prompt: Some("What is it?".into()), ..about_a_dot() };
        let mut before = 0;
        for _ in 0..2 {
            let reply = lab.ask(&Ask { fallback: visiongate::router::plan::Fallback::Never, ..ask.clone() }).await;
            let failure = reply.expect_err(name);
            assert!(["UPSTREAM_ERROR", "BAD_UPSTREAM_RESPONSE"].contains(&failure.code.name()), "{name}: {failure}");
            assert!(lab.calls().0 > before, "{name}: it was remembered");
            before = lab.calls().0;
        }
        let reply = lab.ask(&question("What is it?")).await.expect(name);
        assert_eq!(text(&reply), "from b", "{name}");
    }))
    .await;
    // The answer says that it has ended; the stream need not.
    let lab = Lab::with([stream(&[&piece, &event("receipt.", &json!("stop"))], Then::Break)], HASTY).await;
    assert_eq!(text(&lab.ask(&question("What is it?")).await.expect("an answer")), "A till receipt.");
}

/// Case 36.
#[tokio::test]
async fn an_error_in_a_stream_is_one_in_any_dialect() {
    let chat = "data: {\"error\":{\"message\":\"boom\",\"type\":\"server_error\",\"code\":500}}\n\n";
    let claude =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
    let gemini = "data: {\"error\":{\"code\":503,\"message\":\"x\",\"status\":\"UNAVAILABLE\"}}\n\n";
    let lines = Play::Pieces(
        vec![("content-type", "application/x-ndjson".into())],
        vec![b"{\"error\":\"boom\"}\n".to_vec()],
        Then::End,
    );
    let cases = [
        ("openai-compatible", stream(&[chat], Then::End)),
        ("openai", stream(&[chat], Then::End)),
        ("pixtral", stream(&[chat], Then::End)),
        ("anthropic", stream(&[claude], Then::End)),
        ("gemini", stream(&[gemini], Then::End)),
        ("ollama", lines),
    ];
    join_all(cases.map(|(kind, play)| async move {
        let lab = Lab::of(kind, [play], HASTY).await;
        let (heard, reply) = aloud(&lab, &question("What is it?")).await;
        assert_eq!(heard, "from b", "{kind}");
        answered_by_b(kind, &lab, &reply, "unavailable");
    }))
    .await;
}

/// Case 37. What is sent twice is there twice: no event says that it is a copy.
#[tokio::test]
async fn a_stream_says_the_same_however_it_is_cut() {
    const WORDS: &str = "é漢字🙂 fine";
    let whole = format!("{}{}data: [DONE]\n\n", half(WORDS), event("", &json!("stop")));
    let kind = vec![("content-type", "text/event-stream; charset=utf-8".to_owned())];
    let one_by_one = Play::Pieces(kind, whole.bytes().map(|byte| vec![byte]).collect(), Then::End);
    for play in [one_by_one, stream(&[&whole], Then::End), says(WORDS)] {
        let lab = Lab::with([play], "").await;
        let (heard, reply) = aloud(&lab, &question("What is it?")).await;
        assert_eq!((heard.as_str(), text(&reply.expect("an answer")).as_str()), (WORDS, WORDS));
        // Nobody asked for a stream this time.
        let reply = lab.ask(&question("What is it?")).await.expect("an answer");
        assert_eq!((text(&reply).as_str(), lab.calls()), (WORDS, (2, 0)));
    }
}

/// Case 38.
#[tokio::test]
async fn what_breaks_before_an_answer_is_tried_once_more_and_what_breaks_in_one_is_not() {
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"choices\":".to_vec();
    let cases = [
        ("reset", Play::Reset, 2),
        ("closed", Play::Raw(Vec::new()), 2),
        ("reset while it is asked", Play::Unread(Box::new(Play::Reset)), 2),
        ("closed midway", Play::Drip(ok, Duration::ZERO, Then::Break), 1),
        ("broken midway", Play::Pieces(vec![], vec![b"{\"choices\":".to_vec()], Then::Break), 1),
    ];
    join_all(cases.map(|(name, play, calls)| async move {
        let lab = Lab::with([play], HASTY).await;
        answered_by_b(name, &lab, &lab.ask(&question("What is it?")).await, "unavailable");
        assert_eq!(lab.calls().0, calls, "{name}");
    }))
    .await;
}

/// Case 40.
#[tokio::test]
async fn what_lies_behind_an_answer_is_not_the_next_one() {
    let (first, smuggled) = (completion("first").to_string(), completion("smuggled").to_string());
    let answer = reply("200 OK\r\ncontent-type: application/json", &first);
    let behind = reply("200 OK\r\ncontent-type: application/json", &smuggled);
    for rest in [behind, smuggled.into_bytes()] {
        let play = Play::Drip([answer.clone(), rest].concat(), Duration::ZERO, Then::End);
        let lab = Lab::with([play, says("second")], HASTY).await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(text(&lab.ask(&question("What is it?")).await.expect("an answer")));
        }
        assert!(answers.iter().skip(1).all(|answer| answer == "second"), "{answers:?}");
        assert_eq!(answers[0], "first");
    }
}

/// Replies that break the rules of HTTP, and whether there is an answer in them all the same.
fn malformed() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
    let body = completion("well").to_string();
    let (ok, length) = ("HTTP/1.1 200 OK\r\n", body.len());
    let chunked = |chunks: &str| format!("{ok}transfer-encoding: chunked\r\n\r\n{chunks}").into_bytes();
    let whole = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let both = format!("{ok}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{whole}");
    let two = format!("{ok}content-length: {length}\r\ncontent-length: 5\r\n\r\n{body}");
    let good = String::from_utf8(reply("200 OK", &body)).expect("text");
    let many = "x: y\r\n".repeat(5000);
    vec![
        ("a bad chunk", chunked(&format!("zz\r\n{body}\r\n")), None),
        ("a chunk beyond all numbers", chunked(&format!("fffffffffffffffff\r\n{body}")), None),
        ("a chunk that is too short", chunked(&format!("5\r\n{body}\r\n0\r\n\r\n")), None),
        ("two lengths", two.into_bytes(), None),
        ("garbage", b"\x00\x01\x02 what?\r\n\r\n".to_vec(), None),
        ("a status that is none", b"HTTP/1.1 abc OK\r\n\r\n".to_vec(), None),
        ("a version that is none", b"HTTP/9.9 200 OK\r\n\r\n".to_vec(), None),
        ("many headers", format!("{ok}{many}content-length: {length}\r\n\r\n{body}").into_bytes(), None),
        ("a huge header", format!("{ok}x: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes(), None),
        ("a length and chunks", both.into_bytes(), Some("well")),
        (
            "news before the answer",
            format!("{}{good}", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(50)).into(),
            Some("well"),
        ),
        ("an old version", format!("HTTP/1.0 200 OK\r\n\r\n{body}").into(), Some("well")),
    ]
}

/// Case 41.
#[tokio::test]
async fn a_connection_that_broke_the_rules_is_not_used_again() {
    join_all(malformed().into_iter().map(|(name, bytes, answer)| async move {
        // An old version says by closing that it has ended.
        let then = if name == "an old version" { Then::Break } else { Then::End };
        let lab = Lab::with([Play::Drip(bytes, Duration::ZERO, then), says("second")], HASTY).await;
        let first = text(&lab.ask(&question("What is it?")).await.expect(name));
        // What broke before an answer began is tried once more.
        let answers = [answer.unwrap_or("second"), answer.unwrap_or("from b")];
        assert!(answers.contains(&first.as_str()), "{name}: {first}");
        assert_eq!(text(&lab.ask(&question("What is it?")).await.expect(name)), "second", "{name}");
        let received = lab.a.received();
        let fresh = received.iter().skip(1).all(|request| request.connection != received[0].connection);
        assert!(answer.is_some() || fresh, "{name}: the connection was used again");
    }))
    .await;
}

/// A picture of noise, which nothing makes smaller. Four of them are more than the buffers of the system hold, and none
/// takes long to prepare.
fn noise() -> String {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let pixels = ::image::RgbImage::from_fn(900, 900, |_, _| ::image::Rgb([next(), next(), next()]));
    let mut png = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut png, ::image::ImageFormat::Png).expect("memory");
    format!("data:image/png;base64,{}", STANDARD.encode(png.into_inner()))
}

/// Case 42.
#[tokio::test]
async fn an_early_answer_to_an_upload_is_seen() {
    const LIMITS: &str = "[[providers.a.models]]\nid = \"m\"\nlimits = { max_images = 4, max_bytes = 20_000_000, max_total_bytes = 20_000_000, max_side = 4000, target_side = 4000 }\n";
    let ask = Ask { images: vec![noise(); 4].into(), ..question("What is it?") };
    let early = Play::Unread(Box::new(Play::json(413, &json!({"error": {"message": "too large"}}))));
    let deadline = "[deadline]\ntotal = \"55s\"\nattempt = \"40s\"\n";
    let lab = Lab::with([early], &format!("{LIMITS}{deadline}")).await;
    let failure = lab.ask(&ask).await.expect_err("too large");
    assert_eq!((failure.code.name(), lab.calls()), ("IMAGE_TOO_LARGE", (1, 0)), "{failure}");
    let lengths = lab.a.received()[0].headers.clone();
    let length = lengths.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    assert!(length > Some(12_000_000), "more than fits into buffers: {lengths}");
    assert_eq!(lab.a.unwanted(), 0, "it was seen before the upload was over");
}

/// How many connections to this server this process still holds, as the system counts them.
fn held(upstream: &Upstream) -> usize {
    let url = upstream.url("");
    let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let remote = format!(":{port:04X} 01 ");
    table.lines().filter(|line| line.contains(&remote)).count()
}

/// Case 42: a deaf backend is left, and what was still on its way to it is let go soon after: the HTTP library keeps it
/// until the system finds that nobody takes it, which is later than the call may take.
#[tokio::test]
async fn an_upload_that_nobody_reads_ends_soon_after_its_call() {
    const LIMITS: &str = "[[providers.a.models]]\nid = \"m\"\nlimits = { max_images = 4, max_bytes = 20_000_000, max_total_bytes = 20_000_000, max_side = 4000, target_side = 4000 }\n";
    let ask = Ask { images: vec![noise(); 4].into(), ..question("What is it?") };
    let deaf = Play::Unread(Box::new(Play::Silence.after(Duration::from_mins(5))));
    let lab = Lab::with([deaf], &format!("{LIMITS}[deadline]\ntotal = \"55s\"\nattempt = \"7s\"\n")).await;
    answered_by_b("deaf", &lab, &lab.ask(&ask).await, "timed_out");
    let over = Instant::now();
    while held(&lab.a) > 0 {
        assert!(over.elapsed() < 45 * SECOND, "{} connections are held", held(&lab.a));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
