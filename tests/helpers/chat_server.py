"""Serve a chat-completions endpoint on this machine: given answers, recorded requests."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], tuple[int, Any]]  # request -> status, text of the message or any JSON


class Endpoint:
    """The server's `url`, and the `requests` and `headers` it received."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []


def edits_for(path: str) -> list[dict[str, str]]:
    pairs = {"texturing": "a blue mug", "addition": "a red mug with a spoon", "translation": "a red vase"}
    common = {"path": path, "source_prompt": "a red mug", "instruction": "Do it"}
    return [common | {"target_prompt": target, "type": kind} for kind, target in pairs.items()]


def good(request: dict[str, Any]) -> tuple[int, Any]:
    path = request["messages"][1]["content"][0]["text"].removeprefix("path: ")
    return 200, json.dumps(edits_for(path))


def hang(request: dict[str, Any]) -> tuple[int, Any]:
    time.sleep(1.5)
    return 200, "too late"


@contextmanager
def serving(*answers: Answer, location: str = "") -> Iterator[Endpoint]:
    """Give the answers in turn, the last again and again; `location` is where redirects lead."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = answers[min(len(endpoint.requests), len(answers) - 1)]
            endpoint.requests.append(request)
            endpoint.headers.append(dict(self.headers))
            status, said = answer(request)
            body = json.dumps(
                {"choices": [{"message": {"content": said}}]} if isinstance(said, str) else said
            ).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the asker has hung up

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
