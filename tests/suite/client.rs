//! A plain HTTP client for tests: it sends exactly what a test says, and shows exactly what came back.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;
use super::http::Server;
use super::openapi::Description;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn read(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Self { status, headers, body: bytes.get(end + 4..).unwrap_or_default().to_vec() };
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = unchunked(&answer.body);
        }
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).into_iter().next()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    /// The code of the error that this is, in our shape.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The events of a stream: their names, and their data as JSON where it is JSON.
    pub(crate) fn events(&self) -> Vec<(String, Value)> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"), "{self:?}");
        let text = self.text();
        let member = |event: &str, name: &str| {
            event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        let events = text.split("\n\n").filter(|event| event.contains("data:"));
        let data = |event: &str| {
            let data = member(event, "data:");
            serde_json::from_str(&data).unwrap_or(Value::String(data))
        };
        events.map(|event| (member(event, "event:"), data(event))).collect()
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(&String::from_utf8_lossy(&bytes[..end]), 16).unwrap_or(0);
        let chunk = bytes.get(end + 2..end + 2 + length).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        whole.extend_from_slice(chunk);
        bytes = bytes.get(end + 4 + length..).unwrap_or_default();
    }
    whole
}

impl Server {
    /// Sends a request such as `GET /healthz` with these header lines more, and leaves the connection open.
    pub(crate) async fn begin(&self, line: &str, headers: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.expect("a connection");
        let length = format!("content-length: {}\r\n", body.len());
        let length =
            if line.starts_with("GET") || headers.contains("content-length") || headers.contains("transfer-encoding") {
                ""
            } else {
                &length
            };
        let host = if headers.contains("host:") { String::new() } else { format!("host: {}\r\n", self.address) };
        let head = format!("{line} HTTP/1.1\r\n{host}connection: close\r\n{length}{headers}\r\n");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        // Clients that cannot send all of it seldom read why.
        stream.write_all(body).await.expect("it takes the body, wanted or not");
        stream
    }

    /// Sends a request, and reads the whole answer. It is held to the description of the interface.
    pub(crate) async fn request(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let answer = rest(&mut self.begin(line, headers, body).await).await;
        Description::of(self).await.check(line, &answer);
        answer
    }

    /// Posts JSON.
    pub(crate) async fn post_json(&self, path: &str, headers: &str, body: &Value) -> Answer {
        let headers = format!("content-type: application/json\r\n{headers}");
        self.request(&format!("POST {path}"), &headers, body.to_string().as_bytes()).await
    }

    /// Posts a form.
    pub(crate) async fn post_form(&self, path: &str, headers: &str, fields: &[Field<'_>]) -> Answer {
        let (kind, body) = form(fields);
        self.request(&format!("POST {path}"), &format!("{kind}{headers}"), &body).await
    }

    /// Sends an image ahead, and gives its handle.
    pub(crate) async fn upload(&self, headers: &str, image: &[u8]) -> String {
        let answer = self.request("POST /v1/images", headers, image).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["handle"].as_str().expect("a handle").to_owned()
    }
}

/// What is left of an answer, until the server closes.
pub(crate) async fn rest(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
    Answer::read(&answer)
}

/// Reads until this was said; everything that came until then.
pub(crate) async fn until(stream: &mut TcpStream, said: &str) -> String {
    let mut seen = Vec::new();
    let mut piece = vec![0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(said) {
            let length = stream.read(&mut piece).await.expect("a piece");
            assert!(length > 0, "it ended before {said:?}: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&piece[..length]);
        }
    };
    timeout(PATIENCE, reading).await.expect("in time");
    String::from_utf8_lossy(&seen).into_owned()
}

/// Whether nothing comes on a connection for so long.
pub(crate) async fn is_silent(stream: &mut TcpStream, patience: Duration) -> bool {
    timeout(patience, stream.read(&mut [0; 1])).await.is_err()
}

/// A field of a form: its name, the name of its file if it is one, and what it holds.
pub(crate) type Field<'a> = (&'a str, Option<&'a str>, &'a [u8]);

/// A form, as its header line and its body.
pub(crate) fn form(fields: &[Field<'_>]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "----a-form-of-a-test";
    let mut body = Vec::new();
    for (name, file, content) in fields {
        let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("content-type: multipart/form-data; boundary={BOUNDARY}\r\n"), body)
}

/// An example image as a data URI.
pub(crate) fn data_uri(name: &str) -> String {
    uri(&example_bytes(name))
}

/// A PNG, or whatever it is, as a data URI.
pub(crate) fn uri(bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[expect(clippy::disallowed_methods, reason = "an image of our own, not of a caller")]
pub(crate) fn example_bytes(name: &str) -> Vec<u8> {
    std::fs::read(super::example(name)).expect("an example")
}

/// A stream of chat completions that says these pieces.
pub(crate) fn spoken(pieces: &[&str]) -> Vec<Vec<u8>> {
    let event = |value: Value| format!("data: {value}\n\n").into_bytes();
    let deltas = pieces.iter().map(|text| event(json!({"choices": [{"index": 0, "delta": {"content": text}}]})));
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15});
    let last = json!({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage});
    deltas.chain([event(last), b"data: [DONE]\n\n".to_vec()]).collect()
}
