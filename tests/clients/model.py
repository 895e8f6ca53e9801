"""A model that chats, for clients whose server has no other: it says what stands on the example receipt."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        wants_data = "detected_text" in json.dumps(asked)
        said = json.dumps({"detected_text": "TOTAL EUR 25.41"}) if wants_data else "The total is 25.41."
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        if asked.get("stream"):
            chunk = {"model": "m", "choices": [{"delta": {"content": said}, "finish_reason": "stop"}], "usage": usage}
            kind, body = "text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
        else:
            choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
            kind, body = "application/json", json.dumps({"model": "m", "choices": [choice], "usage": usage})
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    with open(sys.argv[1], "w") as file:
        file.write(str(server.server_port))
    server.serve_forever()
