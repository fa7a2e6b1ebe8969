"""A server that speaks the runner's protocol over real HTTP, with faults on demand.

It keeps what it was told and checks nothing: the tests do.
"""
from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RUNNER = Path(__file__).resolve().parents[2] / "runner" / "ee2_runner.py"
JOB_ID = "5f0c0000000000000000aaaa"
SUBMISSION_ID = "5f0c0000000000000000bbbb"
TOKEN = "job-token-123"


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what the tests are about."""


class FakeServer:
    """Answers claim, report, finish and artifact requests; `fault` decides what goes wrong.

    `fault(method)` is called for each request with its method name ("claim", "PUT", ...) and
    returns None (answer well) or one of: "503", "html", "hang" (no answer until the fault is
    lifted), "die" (close in the middle of the answer), "lost" (do it, then close without an
    answer), "trouble" (JSON-RPC error -32603), "refuse" (JSON-RPC error -32000).
    """

    def __init__(self, app: dict[str, Any], params: Any = None, **claim: Any) -> None:
        self.claim: dict[str, Any] = {
            "proceed": True,
            "job": {"method": "ee2_test.echo", "params": params if params is not None else [],
                    "app_id": None, "service_ver": "abc", "wsid": None, "source_ws_objects": [],
                    "parent_job_id": None},
            "app": app, "limits": {"time_s": None, "memory_mb": None},
            "config": {"kbase_endpoint": "http://kb/services"}, "delegate": None,
            "submission_id": SUBMISSION_ID, "heartbeat_s": 4, "log_flush_s": 1, **claim,
        }
        self.calls: list[tuple[float, str, Any]] = []
        self.stored: dict[str, list[dict[str, Any]]] = {}
        self.finished: list[dict[str, Any]] = []
        self.artifacts: dict[str, bytes] = {}
        self.saved: list[dict[str, Any]] = []
        self.canceled = False
        self.limits: dict[str, Any] | None = None  # those of now, told in each report
        self.fault: Callable[[str], str | None] = lambda method: None
        self.chunked = False
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self.idle_s: float | None = None  # close connections that are idle for so long
        self.certificate: Path | None = None  # key and certificate; https with it, from start() on
        self._server: _Http | None = None
        self._connections: set[socket.socket] = set()
        self.start()

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}/services/ee2"

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All stored log lines in the order in which their batches came first."""
        return [line for batch in self.stored.values() for line in batch]

    @property
    def texts(self) -> list[str]:
        return [line["line"] for line in self.lines]

    def times(self, method: str) -> list[float]:
        return [at for at, name, _ in self.calls if name == method]

    def start(self) -> None:
        """Listens, on the same port as before where there was one."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = fake.idle_s

            def setup(self) -> None:
                super().setup()
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                fake._connections.add(self.request)

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                fake.headers.append(dict(self.headers))
                request = json.loads(body)
                fake._rpc(self, request["method"].split(".")[1], request["params"][0])

            def do_GET(self) -> None:
                fake._artifact(self, b"")

            def do_PUT(self) -> None:
                fake._artifact(self, self.rfile.read(int(self.headers["Content-Length"])))

            def reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                if fake.chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for start in range(0, len(body), 1000):
                        part = body[start:start + 1000]
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                    return
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = _Http(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuses connections and cuts those that are open."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._connections.clear()

    def _broken(self, handler: Any, method: str, act: Callable[[], object]) -> bool:
        fault = self.fault(method)
        while fault == "hang":
            time.sleep(0.05)
            fault = self.fault(method)
            if fault is None:
                handler.close_connection = True
                return True
        if fault == "503":
            handler.reply(503, b"busy", "text/plain")
        elif fault == "html":
            handler.reply(200, b"<html>front page</html>", "text/html")
        elif fault == "trouble":
            handler.reply(500, _error(-32603, "the database is away"))
        elif fault == "refuse":
            handler.reply(500, _error(-32000, "not your job"))
        elif fault in ("die", "lost"):
            act()
            if fault == "die":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"res")
            handler.close_connection = True
        return fault is not None

    def _rpc(self, handler: Any, method: str, params: dict[str, Any]) -> None:
        self.calls.append((time.monotonic(), method, params))

        def act() -> Any:
            if params.get("lines"):
                self.stored.setdefault(params["key"], params["lines"])
            if method == "claim":
                config = {"job_service_url": self.url, **(self.claim.get("config") or {})}
                return {
                    **self.claim, "config": config, "artifacts_url": self.url + "/artifacts"
                }
            if method == "save_object":
                self.saved.append(params)
                return {"ref": f"7/{len(self.saved)}/1"}
            if method == "finish":
                self.finished.append(params)
                return None
            told = {} if self.limits is None else {"limits": self.limits}
            return {"canceled": self.canceled, "reason": None, **told}

        if not self._broken(handler, method, act):
            reply = {"version": "1.1", "id": "1", "result": [act()]}
            handler.reply(200, json.dumps(reply).encode())

    def _artifact(self, handler: Any, body: bytes) -> None:
        name = handler.path.partition("/artifacts/")[2]
        self.calls.append((time.monotonic(), handler.command, name))

        def act() -> None:
            if handler.command == "PUT":
                self.artifacts[name] = body

        if self._broken(handler, handler.command, act):
            return
        act()
        if handler.headers["Authorization"] != TOKEN:
            handler.reply(401, b"no token")
        elif handler.command == "PUT":
            handler.reply(201, b"")
        elif name in self.artifacts:
            handler.reply(200, self.artifacts[name], "application/octet-stream")
        else:
            handler.reply(404, b"no such artifact", "text/plain")


def _error(code: int, message: str) -> bytes:
    error = {"code": code, "name": "Server error", "message": message, "error": None}
    return json.dumps({"version": "1.1", "id": "1", "error": error}).encode()




def start_runner(url: str, scratch: Path | None, program: Path = RUNNER,
                 **env: str) -> subprocess.Popen[str]:
    """Starts the runner as HTCondor does: two arguments, the token on standard input."""
    variables = {"PATH": os.defpath, **env}
    if scratch is not None:
        variables["_CONDOR_SCRATCH_DIR"] = str(scratch)
    process = subprocess.Popen(
        [str(program), JOB_ID, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=variables, text=True)
    assert process.stdin
    process.stdin.write(TOKEN + "\n")
    process.stdin.close()
    process.stdin = None
    return process


def run_runner(server: FakeServer, scratch: Path | None, timeout_s: float = 60,
               program: Path = RUNNER, **env: str) -> tuple[int, str]:
    """Runs the runner to its end; returns its exit code and what it said on stderr."""
    process = start_runner(server.url, scratch, program, **env)
    try:
        _, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return process.returncode, err
