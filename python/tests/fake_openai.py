"""An OpenAI-compatible server on loopback. What it says is decided by a function of the request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = dict[str, Any]
PROMPT_TOKENS, COMPLETION_TOKENS = 100, 7


class FakeOpenAI(ThreadingHTTPServer):
    """`decide` gets a request and returns `text`, `tool` with `arguments`, or `status`; `usage: False`: no counts."""

    daemon_threads = True

    def __init__(self, decide: Callable[[dict[str, Any]], Reply]) -> None:
        self.decide = decide
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()
        # Set to let a reply go that was held back.
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.released.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeOpenAI

    def log_message(self, *_args: object) -> None:
        return

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(request)
            self.server.keys.add(self.headers.get("Authorization"))
        reply = self.server.decide(request)
        if reply.get("hold"):
            self.server.released.wait()
        status = reply.get("status", 200)
        self._answer(status, _completion(request, reply) if status == 200 else {"error": {"message": f"fake {status}"}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            # The client was cancelled.
            self.close_connection = True


def _completion(request: dict[str, Any], reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.get("text")}
    if "tool" in reply:
        function = {"name": reply["tool"], "arguments": json.dumps(reply["arguments"])}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    body = {
        "id": "c1",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
    }
    if reply.get("usage", True):
        total = PROMPT_TOKENS + COMPLETION_TOKENS
        body["usage"] = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": COMPLETION_TOKENS, "total_tokens": total}
    return body


def conversation(request: dict[str, Any]) -> str:
    """All text of a request."""
    parts = []
    for message in request["messages"]:
        content = message["content"]
        parts.append(content if isinstance(content, str) else "".join(part.get("text", "") for part in content))
    return "\n".join(parts)
