//! Clients that mean no good, over HTTP and stdio: requests that can be read in two ways, bytes that come too slowly or are
//! never fetched, keys and origins that are none. After each, somebody else is answered at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use vision_providers::testkit::{Play, Upstream};

use super::client::data_uri;
use super::http::{JSON, Server, locally};
use super::mcp::Client;
use super::rest::{config, serving};
use super::{PATIENCE, completion};

/// Sends this, and reads until the server closes. `None` when it does not.
async fn sent(server: &Server, bytes: &[u8], patience: Duration) -> Option<String> {
    let mut stream = TcpStream::connect(&server.address).await.expect("a connection");
    stream.write_all(bytes).await.expect("it reads");
    let mut answer = Vec::new();
    let _ = timeout(patience, stream.read_to_end(&mut answer)).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Somebody else is served at once.
async fn others_are_served(server: &Server, after: &str) {
    let began = Instant::now();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    assert_eq!(server.post(JSON, &list).await.0, 200, "after {after}");
    assert!(began.elapsed() < Duration::from_secs(2), "after {after}: {:?}", began.elapsed());
}

/// A second request, which must not be found inside of the first.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A request that is refused, or answered as it is: what is odd about it, the status, and its bytes.
type Odd = (&'static str, u16, String);

/// Bodies whose end somebody could see elsewhere.
fn framings() -> Vec<Odd> {
    let post =
        |headers: &str, body: &str| format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\n{JSON}{headers}\r\n{body}");
    vec![
        (
            "a length and chunks",
            400,
            post("content-length: 5\r\ntransfer-encoding: chunked\r\n", &format!("0\r\n\r\n{SMUGGLED}")),
        ),
        (
            "chunks and a length",
            400,
            post("transfer-encoding: chunked\r\ncontent-length: 4\r\n", &format!("0\r\n\r\n{SMUGGLED}")),
        ),
        ("two lengths", 400, post(&format!("content-length: 0\r\ncontent-length: {}\r\n", SMUGGLED.len()), SMUGGLED)),
        ("a list of lengths", 400, post("content-length: 0, 45\r\n", SMUGGLED)),
        ("a signed length", 400, post("content-length: +2\r\n", "{}")),
        ("a negative length", 400, post("content-length: -1\r\n", "{}")),
        ("a length in hexadecimal", 400, post("content-length: 0x2\r\n", "{}")),
        ("a length beyond numbers", 400, post("content-length: 99999999999999999999999\r\n", "{}")),
        ("an unknown coding", 400, post("transfer-encoding: xchunked\r\n", &format!("0\r\n\r\n{SMUGGLED}"))),
        (
            "chunks that are not last",
            400,
            post("transfer-encoding: chunked, gzip\r\n", &format!("0\r\n\r\n{SMUGGLED}")),
        ),
        (
            "chunks twice",
            400,
            post("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &format!("0\r\n\r\n{SMUGGLED}")),
        ),
        ("a chunk beyond numbers", 400, post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nx")),
        ("a chunk of no number", 400, post("transfer-encoding: chunked\r\n", "zz\r\n{}\r\n0\r\n\r\n")),
        (
            "a chunk longer than said",
            400,
            post("transfer-encoding: chunked\r\n", &format!("1\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}")),
        ),
        (
            "endless chunk extensions",
            400,
            post("transfer-encoding: chunked\r\n", &format!("1;{}\r\n", "x".repeat(64 << 10))),
        ),
    ]
}

/// Heads that somebody could read in another way, and protocols that are not spoken here.
fn heads() -> Vec<Odd> {
    let get = |headers: &str| format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    vec![
        ("a folded header", 400, get("x-a: 1\r\n transfer-encoding: chunked\r\n")),
        ("a space before the colon", 400, get("content-length : 5\r\n")),
        ("a header without a name", 400, get(": x\r\n")),
        ("NUL in a header", 400, get("x-a: a\0b\r\n")),
        ("a lone CR in a header", 400, get("x-a: a\rtransfer-encoding: chunked\r\n")),
        ("no host", 403, "GET /v1/models HTTP/1.1\r\n\r\n".to_owned()),
        ("an empty host", 403, "GET /v1/models HTTP/1.1\r\nhost:\r\n\r\n".to_owned()),
        (
            "an absolute address",
            403,
            "GET http://evil.example/v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_owned(),
        ),
        ("a tunnel", 404, "CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("an echo", 405, "TRACE /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        (
            "a new protocol",
            200,
            get("connection: upgrade, http2-settings, close\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"),
        ),
        ("HTTP/0.9", 400, "GET /healthz\r\n\r\n".to_owned()),
        ("HTTP/3.0", 400, "GET /healthz HTTP/3.0\r\nhost: localhost\r\n\r\n".to_owned()),
        ("no HTTP", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\x7f\x03\x03".to_owned()),
        ("an endless path", 431, format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(64 << 10))),
        ("a climbing path", 404, "GET /../../etc/passwd HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
    ]
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_have_one_answer() {
    locally(async {
        let server = Server::start(&[]).await;
        for (name, status, request) in framings().into_iter().chain(heads()) {
            let answer = sent(&server, request.as_bytes(), Duration::from_secs(12)).await;
            let answer = answer.unwrap_or_else(|| panic!("{name}: the connection stays open"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}: {answer}");
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{name}: {answer}");
            others_are_served(&server, name).await;
        }
    })
    .await;
}

#[tokio::test]
async fn headers_that_drip_are_cut_off_although_more_comes() {
    locally(async {
        let server = Server::start(&[]).await;
        let mut stream = TcpStream::connect(&server.address).await.expect("a connection");
        let began = Instant::now();
        let dripping = async {
            for byte in b"POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-drip: ".iter().chain(std::iter::repeat(&b'x')) {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                // What was closed is found out by reading.
                if !matches!(
                    timeout(Duration::from_millis(200), stream.read(&mut [0; 512])).await,
                    Err(_) | Ok(Ok(1..))
                ) {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(12), dripping).await.expect("it is cut off");
        assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
        others_are_served(&server, "dripping").await;
    })
    .await;
}

/// Case 49.
#[tokio::test]
async fn five_hundred_half_open_requests_cost_two_hundred_others_nothing() {
    locally(async {
        let server = Server::start(&[]).await;
        let length = format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 1000\r\n\r\n{{");
        let shapes = ["", "POST /mc", "POST /mcp HTTP/1.1\r\nhost: localhost\r\nx-half", &length];
        let mut half = Vec::new();
        for number in 0..500 {
            let mut stream = TcpStream::connect(&server.address).await.expect("a connection");
            stream.write_all(shapes[number % shapes.len()].as_bytes()).await.expect("it reads");
            half.push(stream);
        }
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
        let answers = join_all((0..200).map(|_| server.post(JSON, &list))).await;
        assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 200);
        others_are_served(&server, "all of them").await;
    })
    .await;
}

#[tokio::test]
async fn who_never_fetches_what_they_asked_for_is_left() {
    locally(async {
        let server = Server::start(&[]).await;
        let connections = async || {
            let (_, metrics) = server.get("/metrics").await;
            let line = metrics.lines().find(|line| line.starts_with("visiongate_connections ")).expect("a gauge");
            line.rsplit(' ').next().and_then(|count| count.parse::<u32>().ok()).expect("a number")
        };
        let mut greedy = Vec::new();
        for _ in 0..20 {
            let stream = TcpStream::connect(&server.address).await.expect("a connection");
            // More answers than the buffers of the system hold.
            let asked = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
            let (reading, mut writing) = stream.into_split();
            let asking = tokio::task::spawn_local(async move { writing.write_all(asked.as_bytes()).await });
            greedy.push((reading, asking));
        }
        others_are_served(&server, "asking").await;
        assert!(connections().await > 20);
        let left = async {
            while connections().await > 1 {
                sleep(Duration::from_millis(500)).await;
            }
        };
        timeout(Duration::from_secs(45), left).await.expect("they are left");
        drop(greedy);
    })
    .await;
}

#[tokio::test]
async fn no_page_of_another_origin_spends_anything_however_it_posts() {
    locally(async {
        let upstream = Upstream::start([Play::Silence]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&upstream, &upstream, "")).await;
        let body = json!({"image": data_uri("qr.png"), "prompt": "What?"}).to_string();
        let kinds =
            ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"];
        for path in ["/mcp", "/v1/analyze", "/v1/compare", "/v1/batch", "/v1/images", "/v1/chat/completions"] {
            for origin in ["https://evil.example", "null", "http://localhost.evil.example", "file://", ""] {
                for kind in kinds {
                    let headers = format!("content-type: {kind}\r\norigin: {origin}\r\n");
                    let answer = server.request(&format!("POST {path}"), &headers, body.as_bytes()).await;
                    assert_eq!(answer.status, 403, "{path} {origin:?} {kind}: {}", answer.text());
                }
            }
        }
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

/// A key is 512 bytes long at most, and stands in one header.
#[tokio::test]
async fn what_is_no_key_is_refused_in_one_shape_wherever_it_stands() {
    locally(async {
        let upstream = Upstream::start([Play::Silence]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let (key, digest) = visiongate::keys::generate().expect("randomness");
        let keys = format!("[server.keys.alice]\nhash = \"{digest}\"\n");
        let server = serving(folder.path(), &config(&upstream, &upstream, &keys)).await;
        let refusal = async |path: &str, headers: &[u8]| {
            let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
            let request = [head.as_bytes(), headers, b"\r\n"].concat();
            let answer = sent(&server, &request, PATIENCE).await.expect("it closes");
            let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
            (head.split(' ').nth(1).expect("a status").to_owned(), body.to_owned())
        };
        let bearer = |token: &[u8]| [b"authorization: Bearer ", token, b"\r\n"].concat();
        let (status, wrong) = refusal("/v1/models", &bearer(b"vg_wrong")).await;
        assert_eq!(status, "401");
        for token in [&b"x"[..], &b"x".repeat(300), &b"x".repeat(20 << 10), &key.as_bytes()[..45], digest.as_bytes()] {
            assert_eq!(refusal("/v1/models", &bearer(token)).await, ("401".to_owned(), wrong.clone()));
        }
        for token in [&b"\xff\xfe"[..], "schl\u{fc}ssel".as_bytes(), b"a\tb"] {
            assert_eq!(refusal("/v1/models", &bearer(token)).await.0, "401", "{token:?}");
        }
        for token in [&b"a\0b"[..], b"a\x01b", b"a\x7fb"] {
            assert_eq!(refusal("/v1/models", &bearer(token)).await.0, "400", "{token:?}");
        }
        let (_, none) = refusal("/v1/models", b"").await;
        for (path, headers) in [
            (format!("/v1/models?key={key}"), String::new()),
            (format!("/v1/models?access_token={key}"), String::new()),
            ("/v1/models".to_owned(), format!("cookie: key={key}\r\n")),
            ("/v1/models".to_owned(), format!("proxy-authorization: Bearer {key}\r\n")),
        ] {
            assert_eq!(refusal(&path, headers.as_bytes()).await, ("401".to_owned(), none.clone()), "{path} {headers}");
        }
        assert_eq!(refusal("/v1/models", &bearer(key.as_bytes())).await.0, "200");
    })
    .await;
}

/// Case 47: whoever leaves while waiting makes room.
#[tokio::test]
async fn leaving_the_queue_or_a_half_sent_body_gives_the_place_back() {
    locally(async {
        let upstream = Upstream::start([Play::Silence]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let more = "[server]\nmax_requests = 1\nqueue = 1\n";
        let server = serving(folder.path(), &config(&upstream, &upstream, more)).await;
        let asked = |prompt: &str| json!({"image": data_uri("qr.png"), "prompt": prompt}).to_string();
        let begun = async |prompt: &str| server.begin("POST /v1/analyze", JSON, asked(prompt).as_bytes()).await;
        let first = begun("First?").await;
        while upstream.calls() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        for number in 0..5 {
            // Whoever was before has left, and that may take a moment to be seen.
            let waits = async {
                loop {
                    let mut waiting = begun(&format!("{number}?")).await;
                    if super::client::is_silent(&mut waiting, Duration::from_millis(300)).await {
                        return;
                    }
                }
            };
            timeout(Duration::from_secs(3), waits).await.expect("there is a place for every one of them");
            let head = format!("POST /v1/analyze HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 90\r\n\r\n{{");
            let mut half = TcpStream::connect(&server.address).await.expect("a connection");
            half.write_all(head.as_bytes()).await.expect("it reads");
        }
        drop(first);
        assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "the vendor was left hanging");
        let last = begun("Last?").await;
        while upstream.calls() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        drop(last);
        assert_eq!(upstream.calls(), 2, "nobody was asked for those who left");
    })
    .await;
}

/// Some clients end their sending with their request, and then read.
#[tokio::test]
async fn whoever_ends_their_sending_is_answered_soon_or_counts_as_gone() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    locally(async {
        let soon = Play::json(200, &completion("Seen.")).after(Duration::from_millis(200));
        let upstream = Upstream::start([soon, Play::Silence]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&upstream, &upstream, "")).await;
        let ended = async |line: &str, body: &str| {
            let began = Instant::now();
            let mut stream = server.begin(line, JSON, body.as_bytes()).await;
            stream.shutdown().await.expect("it is open");
            let mut answer = Vec::new();
            let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
            (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
        };
        let question = |prompt: &str| json!({"image": data_uri("qr.png"), "prompt": prompt}).to_string();
        let (health, _) = ended("GET /healthz", "").await;
        let (answer, _) = ended("POST /v1/analyze", &question("Soon?")).await;
        let (nothing, took) = ended("POST /v1/analyze", &question("Later?")).await;
        assert!(health.starts_with("HTTP/1.1 200") && answer.contains("Seen."), "{health} {answer}");
        assert!(nothing.is_empty() && took < Duration::from_secs(3), "{nothing} {took:?}");
        assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "the vendor was left hanging");
    })
    .await;
}

/// Case 55.
#[tokio::test]
async fn ten_thousand_pings_and_bytes_that_are_no_text_are_survived_over_stdio() {
    locally(async {
        let mut client = Client::start(&[]);
        client.shake_hands().await;
        for noise in [&b"\xff\xfe\x00\x01"[..], b"{\"jsonrpc\": \"2.0\", \"id\": \"\xc3\x28\"}", &[0; 4096]] {
            client.send_bytes(noise).await;
        }
        let mut input = client.take_input();
        let asking = tokio::task::spawn_local(async move {
            for id in 0..10_000 {
                let ping = format!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"method\": \"ping\"}}\n");
                input.write_all(ping.as_bytes()).await.expect("it reads");
            }
            input
        });
        let mut answered = vec![0; 10_000];
        while answered.iter().sum::<i32>() < 10_000 {
            let message = client.next().await;
            if let Some(id) = message["id"].as_u64().filter(|_| message.get("result").is_some()) {
                answered[usize::try_from(id).expect("a number")] += 1;
            }
        }
        assert!(answered.iter().all(|answers| *answers == 1), "each has one answer");
        drop(asking.await.expect("it wrote"));
    })
    .await;
}

/// Case 55: an id that is used twice, and 47: one that was cancelled.
#[tokio::test]
async fn calls_of_the_same_id_confuse_nobody_and_one_that_was_cancelled_has_no_answer() {
    let upstream = Upstream::start([Play::Silence]).await;
    let mut client = Client::with_mistral(&upstream);
    client.shake_hands().await;
    let call = |id: u32| {
        let arguments = json!({"image": super::example("qr.png"), "prompt": "What?", "cache": "bypass"});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": super::mcp::analyze(&arguments)})
    };
    let ping = json!({"jsonrpc": "2.0", "id": 7, "method": "ping"});
    client.send(&call(7)).await;
    for again in [call(7), ping.clone()] {
        client.send(&again).await;
        let refused = client.next().await;
        assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(7), &json!(-32600)), "{refused}");
    }
    while upstream.calls() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(upstream.calls(), 1, "what was refused is not asked");
    client.send(&call(8)).await;
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 8}});
    client.send(&cancelled).await;
    for id in 9..12 {
        client.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"})).await;
        assert_eq!(client.next().await["id"], id, "and nothing for the one that was cancelled");
    }
}

/// Case 55: a client that reads nothing is not read from without end.
#[tokio::test]
async fn who_asks_over_stdio_and_does_not_read_fills_no_memory() {
    locally(async {
        const CALLS: u64 = 12_000;
        let mut client = Client::start(&[]);
        client.shake_hands().await;
        let id = client.child.id().expect("it runs");
        let mut input = client.take_input();
        let asking = tokio::task::spawn_local(async move {
            for id in 1..=CALLS {
                let list = format!("{{\"jsonrpc\": \"2.0\", \"id\": {id}, \"method\": \"tools/list\"}}\n");
                input.write_all(list.as_bytes()).await.expect("it reads");
            }
            input
        });
        sleep(Duration::from_secs(5)).await;
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let most =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        // All answers together have sixty megabytes, and several times as much before they are written.
        assert!(most.is_none_or(|kib| kib < 80 << 10), "{most:?} KiB");
        for _ in 0..CALLS {
            assert!(client.next().await.get("result").is_some());
        }
        drop(asking.await.expect("it wrote"));
    })
    .await;
}
