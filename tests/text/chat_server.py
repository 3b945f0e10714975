"""A local HTTP server that speaks the chat-completions protocol, well or badly."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatHandler(BaseHTTPRequestHandler):
    """Each request takes the next step of ``server.script``; the last step is repeated."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))
        self.server.requests.append((self.path, self.headers["Authorization"], request))
        script = self.server.script
        (script.pop(0) if len(script) > 1 else script[0])(self, request)

    def send(self, status, body, content_type="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def completion(text):
    message = {"index": 0, "finish_reason": "stop"}
    message["message"] = {"role": "assistant", "content": text}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
    return json.dumps({**body, "choices": [message]}).encode()


def events(text, size=7):
    """The server-sent events of an answer in pieces; the last one has no choices."""
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    chunks = [[{"index": 0, "delta": {"content": piece}}] for piece in pieces]
    ends = [[{"index": 0, "delta": {}, "finish_reason": "stop"}], []]
    body = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    lines = [json.dumps({**body, "choices": choices}) for choices in (*chunks, *ends)]
    return [f"data: {line}\n\n".encode() for line in (*lines, "[DONE]")]


def answers(text):
    """Answers as the request wants it: whole or in pieces."""

    def step(handler, request):
        if request.get("stream"):
            handler.send(200, b"".join(events(text)), "text/event-stream")
        else:
            handler.send(200, completion(text))

    return step


def fails(status, message="try later", **headers):
    body = json.dumps({"error": {"message": message, "type": "t"}}).encode()
    return lambda handler, request: handler.send(status, body, **headers)


def says(body, content_type="application/json"):
    """Any bytes with status 200."""
    return lambda handler, request: handler.send(200, body, content_type)


def sleeps(seconds):
    def step(handler, request):
        time.sleep(seconds)
        handler.close_connection = True

    return step


def begin(handler, request, **headers):
    """Status and headers of an answer that is the connection's last."""
    handler.send_response(200)
    kind = "text/event-stream" if request.get("stream") else "application/json"
    for name, value in {"Content-Type": kind, **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.close_connection = True


def drips(text, seconds):
    """An answer in pieces with a pause before each one."""

    def step(handler, request):
        begin(handler, {"stream": True})
        try:
            for event in events(text):
                time.sleep(seconds)
                handler.wfile.write(event)
                handler.wfile.flush()
        except OSError:  # the client has gone
            pass

    return step


def breaks_off(text):
    """The first half of an answer that is announced as whole."""
    return _half_of(text, length_is_told=True)


def ends_early(text):
    """The first half of an answer of unknown length, and a proper end of the connection."""
    return _half_of(text, length_is_told=False)


def _half_of(text, length_is_told):
    def step(handler, request):
        body = b"".join(events(text)) if request.get("stream") else completion(text)
        begin(handler, request, **({"Content-Length": str(len(body))} if length_is_told else {}))
        handler.wfile.write(body[: len(body) // 2])

    return step


def stays_alive(seconds):
    """Blank lines or comments, many a second, and no answer."""

    def step(handler, request):
        begin(handler, request)
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                handler.wfile.write(b": wait\n\n" if request.get("stream") else b"\n")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:  # the client has gone
            pass

    return step


@contextmanager
def serve(*script):
    """A running server: ``url``, ``requests`` (path, authorization, JSON)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ChatHandler)
    server.daemon_threads = True
    server.script, server.requests = list(script), []
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()
