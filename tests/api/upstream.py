"""A server of chat completions that does what the question says. Prints its address. Called by run.sh.

A question that begins with `fail STATUS` is answered with that status; every other one with two words, or with JSON when
the request asks for JSON. `GET /calls` tells how many questions came.
"""

import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

calls = 0
USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


def question(body):
    """The last thing that was said."""
    content = body["messages"][-1]["content"]
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return " ".join(texts)


def answer(body):
    asked_for = body.get("response_format", {}).get("type", "text")
    if asked_for == "text":
        return "Two words."
    return json.dumps({"total": 25.41} if "total" in json.dumps(body["response_format"]) else {})


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(200, {"calls": calls})

    def do_POST(self):
        global calls
        calls += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        wanted = re.search(r"fail (\d+)", question(body))
        if wanted:
            headers = {"retry-after": "1"} if wanted[1] == "429" else {}
            return self.reply(int(wanted[1]), {"error": {"message": "as you wish"}}, headers)
        text = answer(body)
        if body.get("stream"):
            return self.stream(text)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        self.reply(200, {"id": "1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE})

    def reply(self, status, body, headers=None):
        content = json.dumps(body).encode()
        self.send_response(status)
        headers = {"content-type": "application/json", "content-length": str(len(content))} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def stream(self, text):
        half = len(text) // 2
        chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in (text[:half], text[half:])]
        chunks.append({"model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in [json.dumps(chunk) for chunk in chunks] + ["[DONE]"]:
            self.wfile.write(f"data: {event}\n\n".encode())
            # Pieces that come at once are passed on as one.
            time.sleep(0.05)
        self.close_connection = True

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
print(f"127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
