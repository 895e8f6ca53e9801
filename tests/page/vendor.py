"""A server of chat completions whose models each have a manner of their own. Prints its address. Called by run.sh.

`steady` and `other` answer word by word, `slow` takes its time, `failing` has a fault, `breaking` breaks off, `refusing` will not
say, `hostile` says what would do harm as markup, and `dashes` says little but dashes, very many of them. `GET /log` tells what
was asked, and which callers left before the end.
"""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asked, left = [], []
USAGE = {"prompt_tokens": 1210, "completion_tokens": 31, "total_tokens": 1241}
SAID = {
    "steady": "The receipt comes from Lantern Lane Grocer. It lists four items; the total is 25.41 euros, tax of ten percent among it.",
    "other": "The receipt comes from Lantern Lane Grocer. It lists five items; the total is 25.47 euros, tax of ten percent among it.",
    "slow": "One thing after another, " * 12,
    "hostile": "<img src=x onerror=\"document.title='harmed'\"></script><script>document.title='harmed'</script>"
    "<a href=\"javascript:document.title='harmed'\">here</a> \u202eBidi\u0007 [link](https://evil.example/) " + "w" * 4000,
}
SAID["breaking"] = SAID["steady"]
SAID["dashes"] = f"A line: x{'-' * 300_000}x and no more."
PACE = {"slow": 0.4}


class Vendor(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply(200, {"asked": asked, "left": left})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = body["model"]
        asked.append(name)
        if name == "failing":
            return self.reply(400, {"error": {"message": "the scripted model has a fault <b>of its own</b>"}})
        if name == "refusing":
            message = {"role": "assistant", "content": None, "refusal": "I will not say what this shows."}
            events = [{"choices": [{"index": 0, "delta": message}]}]
            return self.stream(name, events, 0.05)
        text = self.text(name, body)
        words = text.split(" ")
        pieces = [word + " " for word in words[:-1]] + words[-1:]
        if name == "breaking":
            pieces = pieces[:6]
        self.stream(name, [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces], PACE.get(name, 0.05))

    def text(self, name, body):
        if "response_format" not in body:
            return SAID[name]
        if "total" in json.dumps(body["response_format"]):
            invoice = {"seller": "Lantern Lane Grocer", "date": None, "number": None, "currency": "EUR", "items": [], "tax": 2.31}
            return json.dumps(invoice | {"total": 25.41 if name == "steady" else 25.47})
        return json.dumps({"description": SAID[name], "detected_text": "LANTERN LANE GROCER\nTOTAL EUR 25.41"})

    def reply(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def stream(self, name, events, pace):
        last = {"model": name, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            end = [] if name == "breaking" else [json.dumps(last), "[DONE]"]
            for event in [json.dumps(event) for event in events] + end:
                self.wfile.write(f"data: {event}\n\n".encode())
                self.wfile.flush()
                time.sleep(pace)
        except OSError:
            left.append(name)
        self.close_connection = True

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
print(f"127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
