"""Where messages to people arrive in tests: a real SMTP server, and a server that speaks Slack's
`chat.postMessage` and takes a webhook's calls."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """An SMTP server. replies: what it says next instead of taking a message; `drop` breaks the
    connection after the message has been read."""

    def __init__(self, port: int) -> None:
        self.mails: list[Message] = []
        self.replies: list[str] = []
        self.port = port
        self._controller = Controller(self, hostname="127.0.0.1", port=port)
        self._controller.start()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """aiosmtpd's hook."""
        reply = self.replies.pop(0) if self.replies else "250 taken"
        if reply.startswith("250") or reply == "drop":
            self.mails.append(message_from_bytes(envelope.content))
        if reply == "drop":
            server.transport.abort()
        return reply

    def stop(self) -> None:
        """Stop the server."""
        self._controller.stop()


class Posts:
    """An HTTP server that keeps what is posted to it: [(path, headers, body)]. answers: (status,
    body) to give next; None breaks the connection after the call was read."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], Any]] = []
        self.answers: list[tuple[int, Any] | None] = []
        posts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {k.lower(): v for k, v in self.headers.items()}
                posts.posts.append((self.path, headers, json.loads(body)))
                answer = posts.answers.pop(0) if posts.answers else (200, {"ok": True})
                if answer is None:
                    self.connection.close()
                    return
                content = json.dumps(answer[1]).encode()
                self.send_response(answer[0])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
