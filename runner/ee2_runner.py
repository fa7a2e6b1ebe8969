#!/usr/bin/python3 -IS
"""The program on the worker node: runs one job's app and tells the server how it went.

HTCondor starts it as `ee2_runner.py <job id> <rpc url>` with the job's token on standard input.
It claims the job, lays out the KBase SDK work directory, runs the app in a session of its own,
sends the log in batches, and finishes the job. docs/reference/app-contract.md has the contract.

One file of standard-library Python 3.9+, compiled at each start unless pack.py has done that
before: start-up is most of what a short job costs. Hence the C modules `_json`, `_signal` and
`_socket` instead of the packages on top of them (json, signal and socket pull in re, enum and
selectors: 25 ms, more than all the rest together), posix_spawn instead of subprocess, and imports
inside the functions that need them.

Exit codes: 0 the server knows how the job ended, or there was nothing to do; 75 the server could
not be reached to claim the job (HTCondor runs it again); 1 the server refused the claim;
70 the end of the job could not be told.
"""
from __future__ import annotations

import _socket as sockets
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, NoReturn
else:
    import _signal as signal

CLAIM_SECONDS = 300.0
FINISH_SECONDS = 3600.0
CONNECT_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 65.0  # a front end may hold a request for 60 s while the server restarts
MAX_PAUSE_S = 15.0
GRACE_SECONDS = 5.0  # between SIGTERM and SIGKILL
DRAIN_SECONDS = 2.0  # for the last output of helpers that outlive the app, such as `| tee`
LINE_BYTES = 64 * 1024
BATCH_LINES = 1000
BATCH_BYTES = 512 * 1024
MEMORY_BYTES = 4 * 1024 * 1024  # of log lines; more go to the spill file
SPILL_BYTES = 512 * 1024 * 1024
PROGRESS_SECONDS = 10.0
CHUNK = 256 * 1024
OUTPUT_BYTES = 1024**3
EXIT_UNREACHABLE, EXIT_REFUSED, EXIT_UNTOLD = 75, 1, 70
CRASHED, STOPPED, TIME_LIMIT, NO_OUTPUT = 1, 2, 3, 4  # EE2's error codes
ENGINES = ("docker", "podman", "apptainer", "singularity")
CONTAINER_WORK = "/kb/module/work"


class Unavailable(Exception):
    """The server gave no usable answer; the same request may be sent again."""


class Refused(Exception):
    """The server's final answer is an error."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(BaseException):
    """A signal arrived, or the job was cancelled, while no app was running."""


class JobError(Exception):
    """The job ends here; the text is for the job's owner."""

    def __init__(self, message: str, code: int = CRASHED, name: str = "App could not run",
                 rpc_code: int = -32000, detail: str = "") -> None:
        super().__init__(message)
        self.error = {"message": message, "name": name, "code": rpc_code, "error": detail}
        self.code = code


# ------------------------------------------------------------------------------------------ JSON


class _Scan:
    """The options that the C scanner of the json package reads."""

    strict = False
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int

    @staticmethod
    def parse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a JSON value")


def _no_json(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _json_functions() -> tuple[Callable[[str], Any], Callable[[Any], str]]:
    """Returns loads and dumps (both refuse NaN); the json package only where _json differs."""
    try:
        from _json import encode_basestring_ascii, make_encoder, make_scanner

        scan = make_scanner(_Scan)  # type: ignore[arg-type]
        encode = make_encoder(
            None, _no_json, encode_basestring_ascii, None, ":", ",", False, False, False
        )

        def loads(text: str) -> Any:
            text = text.strip(" \t\r\n")
            try:
                value, end = scan(text, 0)
            except StopIteration as error:
                raise ValueError(f"no JSON value at character {error.value}") from None
            except SystemError:
                # The C scanner takes its exception from json, which is loaded only for this.
                import json

                json.loads(text)
                raise
            if end != len(text):
                raise ValueError(f"unexpected text at character {end}")
            return value

        def dumps(value: Any) -> str:
            return "".join(encode(value, 0))

        if loads(dumps({"a": [1, "b", None]})) == {"a": [1, "b", None]}:
            return loads, dumps
    except (ImportError, TypeError, AttributeError):
        pass
    import json

    return (
        lambda text: json.loads(text, strict=False, parse_constant=_Scan.parse_constant),
        lambda value: json.dumps(value, allow_nan=False, separators=(",", ":")),
    )


loads, dumps = _json_functions()

# ------------------------------------------------------------------------------------------ HTTP


class Http:
    """One kept connection to the server of a URL. Every failure is an OSError or ValueError."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        address, slash, path = rest.partition("/")
        if scheme not in ("http", "https") or not address or "@" in address:
            raise ValueError(f"'{url}' is not an http:// or https:// address of the server")
        self.address, self.path, self.tls = address, slash + path or "/", scheme == "https"
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            host, port = address, "443" if self.tls else "80"
        self.host, self.port = host.strip("[]"), int(port)
        self.socket: Any = None
        self.rest = b""
        self.aborted = False

    def _connect(self) -> None:
        if self.aborted:
            raise OSError("given up")
        failure: OSError = OSError(f"no address for {self.host}")
        # As bytes: text would load the IDNA tables (9 ms).
        host = self.host.encode("ascii" if self.host.isascii() else "idna")
        for family, kind, proto, _, address in sockets.getaddrinfo(
            host, self.port, 0, sockets.SOCK_STREAM
        ):
            connection: Any = None
            try:
                if self.tls:
                    import socket
                    import ssl

                    connection = socket.socket(family, kind, proto)
                    connection.settimeout(CONNECT_TIMEOUT_S)
                    connection.connect(address)
                    context = ssl.create_default_context()
                    connection = context.wrap_socket(connection, server_hostname=self.host)
                else:
                    connection = sockets.socket(family, kind, proto)
                    connection.settimeout(CONNECT_TIMEOUT_S)
                    connection.connect(address)
                connection.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
                self.socket, self.rest = connection, b""
                return
            except OSError as error:
                failure = error
                if connection is not None:
                    connection.close()
        raise failure

    def close(self) -> None:
        """Ends the connection; the next request opens a new one."""
        connection, self.socket = self.socket, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Ends a request that another thread waits in, and forbids that thread a new one."""
        self.aborted = True
        try:
            self.socket.shutdown(sockets.SHUT_RDWR)
        except (AttributeError, OSError):
            pass

    def _alive(self) -> bool:
        """False if there is no connection, or the server closed it while it was idle."""
        if self.socket is None:
            return False
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if poll.poll(0):
            self.close()
            return False
        return True

    def request(self, method: str, path: str, headers: dict[str, str], body: Any = b"",
                size: int | None = None, sink: Any = None,
                timeout_s: float = REPLY_TIMEOUT_S) -> tuple[int, bytes]:
        """Sends one request and returns status and body.

        `body` is bytes, or a file of which `size` bytes are sent. The body of a 200 answer is
        written to the file `sink` where one is given.
        """
        if not self._alive():
            self._connect()
        self.socket.settimeout(timeout_s)
        length = len(body) if size is None else size
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.address}\r\nContent-Length: {length}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        try:
            try:
                if size is None:
                    self.socket.sendall(head.encode("latin-1") + b"\r\n" + body)
                else:
                    self.socket.sendall(head.encode("latin-1") + b"\r\n")
                    left = size
                    while left:
                        data = body.read(min(CHUNK, left))
                        if not data:
                            raise ValueError("the file became shorter while it was sent")
                        self.socket.sendall(data)
                        left -= len(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # a server that refuses early answers first and then closes
            return self._answer(sink)
        except BaseException:
            self.close()
            raise

    def _answer(self, sink: Any) -> tuple[int, bytes]:
        status, headers = 100, dict[str, str]()
        while 100 <= status < 200:
            lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ", 2)[1])
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
        parts: list[bytes] = []
        write = sink.write if sink is not None and status == 200 else parts.append
        close = headers.get("connection", "").lower() == "close"
        if "chunked" in headers.get("transfer-encoding", "").lower():
            while True:
                length = int(self._until(b"\r\n").split(b";")[0], 16)
                self._exactly(length, write)
                if not length:
                    break
                self._until(b"\r\n")
            while self._until(b"\r\n"):
                pass
        elif "content-length" in headers:
            self._exactly(int(headers["content-length"]), write)
        elif status not in (204, 304):
            close = True
            while self.rest or self._more():
                write(self.rest)
                self.rest = b""
        if close:
            self.close()
        return status, b"".join(parts)

    def _more(self) -> bool:
        data = self.socket.recv(CHUNK)
        self.rest += data
        return bool(data)

    def _until(self, end: bytes) -> bytes:
        while end not in self.rest:
            if len(self.rest) > 64 * 1024:
                raise ValueError("the server's answer is not HTTP")
            if not self._more():
                raise ConnectionResetError("the server closed the connection without an answer")
        line, self.rest = self.rest.split(end, 1)
        return line

    def _exactly(self, length: int, write: Callable[[bytes], Any]) -> None:
        while length:
            if not self.rest and not self._more():
                raise OSError("the server closed the connection in the middle of its answer")
            data, self.rest = self.rest[:length], self.rest[length:]
            write(data)
            length -= len(data)


def pause(attempt: int) -> float:
    """Seconds to wait before try number `attempt` + 1: doubling, at most 15, with jitter."""
    return min(MAX_PAUSE_S, 0.2 * 2.0 ** min(attempt, 10)) * (0.5 + os.urandom(1)[0] / 256)


def retry(seconds: float, attempt: Callable[..., Any], *arguments: Any) -> Any:
    """Calls `attempt` until the server answers; raises the last Unavailable after `seconds`."""
    end = time.monotonic() + seconds
    tries = 0
    while True:
        try:
            return attempt(*arguments)
        except Unavailable as error:
            wait = pause(tries)
            if time.monotonic() + wait > end:
                raise
            if tries == 0:
                print(f"ee2_runner: {error}; trying again", file=sys.stderr, flush=True)
            tries += 1
            time.sleep(wait)


class Server:
    """The server's methods for runners (JSON-RPC 1.1, token in the Authorization header)."""

    def __init__(self, url: str, token: str, job_id: str) -> None:
        self.http = Http(url)
        self.url, self.token = url, token
        self.job_id, self.claim = job_id, os.urandom(16).hex()

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """Calls ee2_runner.METHOD once and returns its value.

        Raises Refused for a JSON-RPC error (but not -32603, a server in trouble), and
        Unavailable for everything that is not an answer of the method.
        """
        request = {
            "version": "1.1", "id": "1", "method": "ee2_runner." + method,
            "params": [{"job_id": self.job_id, "claim": self.claim, **params}],
        }
        headers = {"Authorization": self.token, "Content-Type": "application/json"}
        body = dumps(request).encode("ascii")
        reused = self.http.socket is not None
        try:
            try:
                status, answer = self.http.request("POST", self.http.path, headers, body)
            except ConnectionError:
                if not reused:
                    raise
                # The server may have closed the idle connection just now.
                status, answer = self.http.request("POST", self.http.path, headers, body)
            if status == 413:
                raise Refused("the server does not take a request of this size")
            reply = loads(answer.decode("utf-8"))
            if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
                error = reply["error"]
                if error.get("code") == -32603:
                    raise Unavailable(f"the server is in trouble: {error.get('message')}")
                raise Refused(str(error.get("message") or error.get("name")),
                              error.get("code") or -32000)
            if status != 200 or not isinstance(reply, dict) or "result" not in reply:
                raise ValueError(f"HTTP status {status}")
        except (OSError, ValueError, IndexError) as error:
            raise Unavailable(f"no answer from {self.url}: {error}") from error
        result = reply["result"]
        return result[0] if isinstance(result, list) and result else None


# ------------------------------------------------------------------------------------ log lines


class LogQueue:
    """Log lines on their way to the server, oldest first, in batches with a key each.

    A batch stays at the head until done(): sent again after a failure it has the same key and
    content, and the server stores it once. What does not fit in memory waits in a file.
    """

    def __init__(self, claim: str, spill_path: str) -> None:
        import _thread

        self.lock = _thread.allocate_lock()
        self.claim, self.spill_path = claim, spill_path
        self.open: list[dict[str, Any]] = []
        self.open_bytes = self.sealed_bytes = self.number = self.dropped = 0
        self.sealed: list[tuple[str, list[dict[str, Any]], int]] = []
        self.spill: Any = None
        self.spilled: list[int] = []  # the sizes of the batches in the spill file, in bytes
        self.read_at = self.write_at = 0

    def add(self, line: str, is_error: int, ts: int) -> None:
        """Appends one line; `ts` in ms since the epoch."""
        with self.lock:
            self.open.append({"line": line, "is_error": is_error, "ts": ts})
            self.open_bytes += len(line) + 40
            if len(self.open) >= BATCH_LINES or self.open_bytes >= BATCH_BYTES:
                self._seal()

    def _seal(self) -> None:
        self.number += 1
        batch = (f"{self.claim}-{self.number}", self.open, self.open_bytes)
        self.open, self.open_bytes = [], 0
        if self.spilled or self.sealed_bytes > MEMORY_BYTES:
            self._spill(batch)
        else:
            self.sealed.append(batch)
            self.sealed_bytes += batch[2]

    def _spill(self, batch: tuple[str, list[dict[str, Any]], int]) -> None:
        data = dumps(batch).encode("ascii") + b"\n"
        try:
            if self.write_at + len(data) > SPILL_BYTES:
                raise OSError("the spill file is full")
            if self.spill is None:
                os.makedirs(os.path.dirname(self.spill_path), exist_ok=True)
                self.spill = open(self.spill_path, "w+b", buffering=0)
            self.spill.seek(self.write_at)
            if self.spill.write(data) != len(data):
                raise OSError("no space left")
            self.write_at += len(data)
            self.spilled.append(len(data))
        except OSError:
            self.dropped += len(batch[1])

    def head(self) -> tuple[str | None, list[dict[str, Any]]]:
        """Returns key and lines of the oldest batch, or (None, []) if there is nothing to send."""
        with self.lock:
            if not self.sealed and self.spilled:
                self.spill.seek(self.read_at)
                data = self.spill.read(self.spilled.pop(0))
                self.read_at += len(data)
                self.sealed.append(tuple(loads(data.decode("ascii"))))
                self.sealed_bytes = self.sealed[0][2]
                if not self.spilled:
                    self.spill.truncate(0)
                    self.read_at = self.write_at = 0
            if not self.sealed and self.dropped:
                text = (f"[{self.dropped} log lines were lost here: the server was away and the "
                        "node had no room to keep them]")
                now = int(time.time() * 1000)
                self.open.insert(0, {"line": text, "is_error": 1, "ts": now})
                self.dropped = 0
            if not self.sealed and self.open:
                self._seal()
            return self.sealed[0][:2] if self.sealed else (None, [])

    def done(self) -> None:
        """The oldest batch is stored."""
        with self.lock:
            self.sealed_bytes -= self.sealed.pop(0)[2]

    def more(self) -> bool:
        """True if there is another batch after the one at the head."""
        return bool(len(self.sealed) > 1 or self.open or self.spilled or self.dropped)


class LineReader:
    """Cuts what comes from one pipe of the app into log lines."""

    def __init__(self, fd: int, is_error: int, queue: LogQueue) -> None:
        self.fd, self.is_error, self.queue = fd, is_error, queue
        self.partial = b""
        self.cut = 0
        self.progress_at = 0.0
        self.last: list[str] = []

    def read(self) -> bool:
        """Reads what is there; False at the end of the pipe."""
        for _ in range(8):
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                if self.partial:
                    self._line(self.partial)
                self.partial = b""
                return False
            self._feed(data)
        return True

    def _feed(self, data: bytes) -> None:
        *lines, partial = (self.partial + data).split(b"\n")
        for line in lines:
            self._line(line)
        if b"\r" in partial:
            partial = self._progress(partial)
        self.cut += max(0, len(partial) - LINE_BYTES)
        self.partial = partial[:LINE_BYTES]

    def _progress(self, partial: bytes) -> bytes:
        """A bar that is drawn over and over becomes one line every ten seconds."""
        text = partial.rstrip(b"\r")
        text = text[text.rfind(b"\r") + 1:]
        now = time.monotonic()
        if not self.progress_at:
            self.progress_at = now
        elif now - self.progress_at >= PROGRESS_SECONDS and text:
            self.progress_at = now
            self._line(text)
        return text + b"\r"

    def _line(self, raw: bytes) -> None:
        raw = raw.rstrip(b"\r")
        raw = raw[raw.rfind(b"\r") + 1:]
        cut = self.cut + max(0, len(raw) - LINE_BYTES)
        self.cut = 0
        line = raw[:LINE_BYTES].decode("utf-8", "replace")
        if cut:
            line += f" … [line cut here, {cut} more bytes]"
        self.queue.add(line, self.is_error, int(time.time() * 1000))
        self.last.append(line)
        del self.last[:-20]


class Stop:
    """Whether and why the job has to stop early, and the pipe that wakes the main loop."""

    def __init__(self) -> None:
        self.reason = ""  # "signal", "cancelled", "time", "memory"
        self.message = ""
        self.interruptible = True
        self.wake, self.waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.waker, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _on_signal(self, number: int, frame: object) -> None:
        self.set("signal", f"signal {number}")
        if self.interruptible:
            self.interruptible = False
            raise Interrupted

    def set(self, reason: str, message: str = "") -> None:
        """Keeps the first reason and wakes the main loop."""
        if not self.reason:
            self.message, self.reason = message, reason
        try:
            os.write(self.waker, b"\0")
        except BlockingIOError:
            pass

    def check(self) -> None:
        """Raises Interrupted if the job has to stop."""
        if self.reason:
            raise Interrupted


class Reporter:
    """Sends log batches, or else a heartbeat, from a thread of its own.

    The thread is started only for a job that lasts longer than a moment; what a short job printed
    goes with its finish.
    """

    def __init__(self, server: Server, queue: LogQueue, stop: Stop, claim: dict[str, Any]) -> None:
        self.server, self.queue, self.stop = server, queue, stop
        self.heartbeat_s = float(claim.get("heartbeat_s") or 4)
        self.flush_s = float(claim.get("log_flush_s") or 1)
        self.limits: dict[str, Any] = claim.get("limits") or {}
        claim["limits"] = self.limits
        self.told_at = time.monotonic()
        self.thread: Any = None
        self.ending: Any = None

    def start(self) -> None:
        if self.thread is None:
            import threading

            self.ending = threading.Event()
            self.thread = threading.Thread(target=self._run, daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Ends the thread; a request that hangs is given up (its batch keeps its key)."""
        if self.thread is not None:
            self.ending.set()
            self.thread.join(2)
            if self.thread.is_alive():
                self.server.http.abort()
                self.thread.join(CONNECT_TIMEOUT_S + REPLY_TIMEOUT_S)
                self.server.http.aborted = False

    def _run(self) -> None:
        tries = 0
        while not self.ending.is_set():
            key, lines = self.queue.head()
            if not lines and time.monotonic() - self.told_at < self.heartbeat_s - 0.1:
                self.ending.wait(min(self.flush_s, self.heartbeat_s))
                continue
            try:
                answer = self.send(key, lines)
                tries, self.told_at = 0, time.monotonic()
            except Unavailable:
                self.ending.wait(pause(tries))
                tries += 1
                continue
            if isinstance(answer, dict) and answer.get("canceled") and not self.stop.reason:
                self.stop.set("cancelled", str(answer.get("reason") or ""))
            elif isinstance(answer, dict) and answer.get("limits"):
                self.limits.update(answer["limits"])  # an administrator may change them
            if not self.queue.sealed:
                self.ending.wait(self.flush_s)

    def send(self, key: str | None, lines: list[dict[str, Any]]) -> Any:
        """Sends one batch. Lines that the server refuses are given up; a refused heartbeat means
        that the job is over, as its token ends with it."""
        try:
            answer = self.server.call("report", {"key": key, "lines": lines})
        except Refused as error:
            print(f"ee2_runner: the server refused a report: {error}", file=sys.stderr, flush=True)
            answer = None if lines else {"canceled": True, "reason": str(error)}
        if lines:
            self.queue.done()
        return answer


# ------------------------------------------------------------------------------------ processes


def adopt_orphans() -> None:
    """Makes this process the parent of all orphans below it, daemons included (Linux prctl)."""
    try:
        import _ctypes  # a third of the cost of ctypes

        prctl = _ctypes.dlsym(_ctypes.dlopen(None, 0), "prctl")  # type: ignore[arg-type]
        _ctypes.call_function(prctl, (36, 1, 0, 0, 0))  # PR_SET_CHILD_SUBREAPER
    except (ImportError, AttributeError, OSError, TypeError):
        print("ee2_runner: cannot adopt orphans; daemons of the app may stay", file=sys.stderr)


def _stat(pid: int) -> list[bytes]:
    """Returns the fields of /proc/PID/stat from the state on; none if the process has gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as file:
                found += map(int, file.read().split())
    except FileNotFoundError:
        if os.path.exists(f"/proc/{pid}/task/{pid}/children") or not os.path.exists("/proc/self"):
            return found
        # A kernel without that file: look at every process's parent.
        for name in os.listdir("/proc"):
            fields = _stat(int(name)) if name.isdigit() else []
            if fields and int(fields[1]) == pid:
                found.append(int(name))
    except OSError:
        pass
    return found


def descendants(roots: list[int]) -> list[int]:
    """Returns the ids of all processes below the given ones."""
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        children = [pid for pid in _children(waiting.pop()) if pid not in found]
        found += children
        waiting += children
    return found


def _shared_out_kb(pid: int) -> int:
    """The process's memory with shared pages divided among their users (PSS), in KiB."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


class Usage:
    """What the app has used: measured from its processes, not from HTCondor."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.user_s = self.system_s = 0.0
        self.sampled_user_s = self.sampled_system_s = 0.0
        self.peak_bytes = 0
        self.wall_s = 0.0
        self.status: int | None = None
        self.roots = [os.getpid()]
        self.page = os.sysconf("SC_PAGE_SIZE")
        self.tick = float(os.sysconf("SC_CLK_TCK"))

    def reap(self, main_pid: int) -> None:
        """Collects every ended child; keeps the main process's wait status."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self.user_s += used.ru_utime
            self.system_s += used.ru_stime
            self.peak_bytes = max(self.peak_bytes, used.ru_maxrss * 1024)
            if pid == main_pid:
                self.status = status
                self.wall_s = time.monotonic() - self.started

    def sample(self, limit_bytes: int | None = None) -> int:
        """Returns the memory of the process tree in bytes: resident, or, where that is over the
        limit, with shared pages counted once."""
        total = user = system = 0
        pids = descendants(self.roots) + self.roots[1:]
        for pid in pids:
            fields = _stat(pid)
            if fields:
                total += int(fields[21]) * self.page
                user += int(fields[11]) + int(fields[13])
                system += int(fields[12]) + int(fields[14])
        if limit_bytes is not None and total > limit_bytes:
            # Forked workers share pages; only what they really take counts against the limit.
            total = sum(map(_shared_out_kb, pids)) * 1024 or total
        self.sampled_user_s = max(self.sampled_user_s, user / self.tick)
        self.sampled_system_s = max(self.sampled_system_s, system / self.tick)
        self.peak_bytes = max(self.peak_bytes, total)
        return total

    def values(self) -> dict[str, Any]:
        """Returns the usage as the server takes it."""
        user_s, system_s = self.user_s, self.system_s
        if len(self.roots) > 1:  # a container's processes are not our children
            user_s = max(user_s, self.sampled_user_s)
            system_s = max(system_s, self.sampled_system_s)
        code = None if self.status is None else os.waitstatus_to_exitcode(self.status)
        return {
            "cpu_user_s": round(user_s, 3),
            "cpu_system_s": round(system_s, 3),
            "wall_s": round(self.wall_s, 3),
            "peak_memory_mb": -(-self.peak_bytes // 1024**2),
            "host": os.uname().nodename,
            "exit_code": code if code is not None and code >= 0 else None,
            "signal": -code if code is not None and code < 0 else None,
        }


def kill(pid: int, number: int, group: bool = False) -> None:
    """Sends a signal to a process, or to its group; one that has gone is fine."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def kill_all(pid: int, usage: Usage) -> None:
    """Ends what is left of the app, daemons included.

    Gives up after 10 s: a process in an uninterruptible wait cannot be killed.
    """
    kill(pid, signal.SIGKILL, group=True)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        usage.reap(pid)
        left = descendants([os.getpid()])
        if not left:
            break
        for child in left:
            kill(child, signal.SIGKILL)
        time.sleep(0.005)


class Container:
    """The app's container, with the engine that this node has."""

    def __init__(self, image: str, name: str) -> None:
        if not image or image.startswith("-"):
            raise JobError(f"'{image}' is not the name of a container image.")
        self.image, self.name = image, name
        self.engine, self.program = self._find()
        self.attached = False

    def _find(self) -> tuple[str, str]:
        folders = (os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin").split(":")
        refused = ""
        for engine in ENGINES:
            for folder in folders:
                program = os.path.join(folder, engine)
                if not os.access(program, os.X_OK):
                    continue
                socket = "/var/run/docker.sock"
                if (engine == "docker" and "DOCKER_HOST" not in os.environ
                        and not os.access(socket, os.W_OK)):
                    refused = f" (docker is there, but this account may not use {socket})"
                    continue
                return engine, program
        raise JobError(
            f"The app runs in a container ({self.image}), but the node {os.uname().nodename} has "
            f"none of docker, podman, apptainer and singularity{refused}. "
            "Ask the operators for a node with a container engine."
        )

    def argv(self, work: str, env: dict[str, str], memory_mb: int | None) -> list[str]:
        """Returns the command that runs the app; its work directory is at /kb/module/work."""
        inner = {"KB_WORK_DIR": CONTAINER_WORK, "TMPDIR": CONTAINER_WORK + "/tmp",
                 "EE2_CPUS": env["EE2_CPUS"]}
        names = [f"--env={name}={value}" for name, value in inner.items()]
        if self.engine in ("docker", "podman"):
            argv = [self.program, "run", "--rm", "--init", "--name", self.name,
                    f"--volume={work}:{CONTAINER_WORK}", *names]
            if memory_mb:
                argv.append(f"--memory={memory_mb}m")
            if self.engine == "podman":
                argv.append("--security-opt=label=disable")  # scratch has no container label
            return [*argv, self.image, "async"]
        source = self.image
        if "://" not in source and not source.startswith("/"):
            source = "docker://" + source
        # KBase's images are entered from /kb/module and write below it.
        return [self.program, "run", "--cleanenv", "--no-home", "--writable-tmpfs", "--pid",
                f"--bind={work}:{CONTAINER_WORK}", "--pwd=/kb/module", *names, source, "async"]

    def _engine(self, *arguments: str) -> str:
        import subprocess

        try:
            done = subprocess.run(
                [self.program, *arguments], stdin=subprocess.DEVNULL, timeout=30,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout.decode("utf-8", "replace").strip()

    def attach(self, usage: Usage) -> None:
        """Adds docker's container to the processes that are measured, once it has started."""
        if self.engine == "docker" and not self.attached:
            pid = self._engine("inspect", "--format={{.State.Pid}}", self.name)
            if pid.isdigit() and int(pid) > 0:
                usage.roots.append(int(pid))
                self.attached = True

    def remove(self, work: str) -> None:
        """Ends the container, whatever is left of it; files of root become the job's account's."""
        if self.engine not in ("docker", "podman"):
            return
        self._engine("rm", "--force", self.name)
        if self.engine == "docker" and os.getuid():
            self._engine("run", "--rm", f"--volume={work}:{CONTAINER_WORK}", "--entrypoint=chown",
                         self.image, "-R", f"{os.getuid()}:{os.getgid()}", CONTAINER_WORK)


# ------------------------------------------------------------------------------- work directory


def checked_name(name: str) -> str:
    """Returns the name of an artifact: a relative path without '..' and control characters."""
    parts = name.split("/")
    if ("" in parts or "." in parts or ".." in parts or "\\" in name or len(name) > 1024
            or any(ord(letter) < 32 or ord(letter) == 127 for letter in name)):
        raise JobError(f"{name!r} is not a valid name of an artifact: a file name, or a relative "
                       "path without '..', is needed.", name="Invalid artifact name")
    return name


def split_ref(text: str) -> tuple[str, str, str] | None:
    """Returns (submission, job, name) of "artifact:<submission>/<job>/<name>", else None."""
    if not text.startswith("artifact:"):
        return None
    parts = text[9:].split("/", 2)
    if len(parts) < 3 or any(len(i) != 24 or i.strip("0123456789abcdef") for i in parts[:2]):
        return None
    return parts[0], parts[1], parts[2]


def replace_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Returns JSON data with every string that starts with "artifact:" changed."""
    if isinstance(value, str):
        return change(value) if value.startswith("artifact:") else value
    if isinstance(value, list):
        return [replace_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {key: replace_strings(item, change) for key, item in value.items()}
    return value


class Artifacts:
    """Files that go from job to job over HTTP, streamed."""

    def __init__(self, server: Server, url: str, submission_id: str, stop: Stop) -> None:
        self.http, self.stop = Http(url), stop
        self.token = server.token
        self.own = f"{submission_id}/{server.job_id}"

    def _send(self, method: str, ref: str, **options: Any) -> None:
        self.stop.check()
        letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
        quoted = "".join(chr(b) if b in letters else f"%{b:02X}" for b in os.fsencode(ref))
        path = f"{self.http.path.rstrip('/')}/{quoted}"
        try:
            status, body = self.http.request(
                method, path, {"Authorization": self.token}, **options)
        except (OSError, ValueError, IndexError) as error:
            raise Unavailable(f"artifact {ref}: {error}") from error
        if 200 <= status < 300:
            return
        text = body[:500].decode("utf-8", "replace")
        if 400 <= status < 500 and status not in (408, 429):
            raise Refused(f"HTTP {status} {text}", status)
        raise Unavailable(f"artifact {ref}: HTTP {status} {text}")

    def fetch(self, params: Any, folder: str, shown: str) -> Any:
        """Brings every artifact that the params name into `folder`.

        Returns the params with the paths as the app sees them (below `shown`).
        """
        paths: dict[str, str] = {}

        def local(text: str) -> str:
            ref = split_ref(text)
            if ref is None:
                return text
            if text not in paths:
                paths[text] = f"{shown}/{ref[1]}/{checked_name(ref[2])}"
                target = f"{folder}/{ref[1]}/{ref[2]}"
                os.makedirs(os.path.dirname(target), exist_ok=True)
                try:
                    retry(FINISH_SECONDS, get, text[9:], target)
                except Refused as error:
                    raise JobError(
                        f"The input file {ref[2]} of job {ref[1]} could not be fetched: {error}. "
                        "Files between jobs are kept for a limited time; run that job again.",
                        name="Input not found") from error
            return paths[text]

        def get(ref: str, target: str) -> None:
            with open(target, "wb") as file:
                self._send("GET", ref, sink=file)

        return replace_strings(params, local)

    def store(self, output: Any, folder: str) -> Any:
        """Uploads every file below `folder`; returns the output with full artifact names."""
        names = []
        for root, _, files in os.walk(folder):
            for file in files:
                path = os.path.join(root, file)
                if os.path.isfile(path):
                    names.append(checked_name(os.path.relpath(path, folder)))

        def full(text: str) -> str:
            name = text[9:]
            if name in names:
                return f"artifact:{self.own}/{name}"
            if split_ref(text):
                return text  # handed on from another job
            raise JobError(f"The app's output names the artifact {name!r}, but the app left no "
                           "such file in the folder artifacts.", name="Artifact not found")

        output = replace_strings(output, full)
        for name in sorted(names):
            try:
                retry(FINISH_SECONDS, self._put, folder, name)
            except Refused as error:
                raise JobError(f"The output file {name} could not be stored: {error}.",
                               name="Output not stored") from error
            except Unavailable as error:
                raise JobError(f"The output file {name} could not be stored: the server could not "
                               f"be reached for {duration(FINISH_SECONDS)} ({error}).",
                               name="Output not stored") from error
        return output

    def _put(self, folder: str, name: str) -> None:
        with open(os.path.join(folder, name), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._send("PUT", f"{self.own}/{name}", body=file, size=size)


def write_private(path: str, text: str) -> None:
    """Writes a file that only this account may read."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def write_inputs(work: str, server: Server, claim: dict[str, Any], params: Any) -> None:
    """Lays out what the app reads: input.json, token, ee2_token, config.properties."""
    job = claim["job"]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    context = {"service_ver": job.get("service_ver"),
               "call_stack": [{"time": now, "method": job["method"]}]}
    write_private(f"{work}/input.json", dumps({
        "version": "1.1", "id": server.job_id, "method": job["method"], "params": params,
        "context": context}))
    # Apps that call KBase's services need the user's token for that, where the server gives it.
    write_private(f"{work}/token", claim.get("user_token") or server.token)
    write_private(f"{work}/ee2_token", server.token)
    config = "".join(f"{name} = {value}\n" for name, value in (claim.get("config") or {}).items())
    write_private(f"{work}/config.properties", "[global]\n" + config)


def scheduler_ad() -> dict[str, str]:
    """Returns the plain values of the job's ad, which HTCondor leaves in a file on the node."""
    found: dict[str, str] = {}
    try:
        with open(os.environ["_CONDOR_JOB_AD"], encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(" = ")
                found[name] = value.strip()
    except (KeyError, OSError):
        pass
    return found


def scheduler_id_of(ad: dict[str, str]) -> str | None:
    """Returns the job's id in the engine's own queue; a job that went on from there by a route is
    told it in its environment."""
    told = os.environ.get("EE2_SCHEDULER_ID")
    return told or (f"{ad['ClusterId']}.{ad.get('ProcId', '0')}" if "ClusterId" in ad else None)


def whereabouts(ad: dict[str, str]) -> dict[str, str]:
    """Returns where this run is, for the job's record."""
    env = os.environ
    route = env.get("EE2_ROUTE", "pool")
    slurm = env.get("SLURM_JOB_ID", "") if not ad else ""
    found = {
        "route": route,
        "group": env.get("EE2_GROUP") or ad.get("EE2_GROUP", "").strip('"'),
        "slot": env.get("_CONDOR_SLOT", ""),
        "cluster": (env.get("SLURM_CLUSTER_NAME", "") if slurm
                    else ad.get("GlobalJobId", "").strip('"').partition("#")[0]),
    }
    if slurm:
        found["batch_id"] = slurm
    elif route != "pool" and "ClusterId" in ad:
        found["batch_id"] = f"{ad['ClusterId']}.{ad.get('ProcId', '0')}"
    return {name: value for name, value in found.items() if value}


def app_command(command: list[str], folder: str | None) -> list[str]:
    """Returns a command of app.yaml with absolute paths: words that name files of the app's folder,
    and a program that is found in PATH."""
    argv = list(command)
    if folder:
        argv = [f"{folder}/{w}" if w and os.path.isfile(f"{folder}/{w}") else w for w in argv]
    if "/" not in argv[0]:
        for place in (os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin").split(":"):
            if os.access(f"{place}/{argv[0]}", os.X_OK):
                argv[0] = f"{place}/{argv[0]}"
                break
    return argv


def app_environment(work: str, cpus: str) -> dict[str, str]:
    """Returns the app's whole environment; no secret is in it.

    HTCondor's ancestor marks go along: with them it finds the app if the runner itself is killed.
    """
    env = {name: value for name, value in os.environ.items()
           if name.startswith("_CONDOR_ANCESTOR_")}
    env.update(PATH=os.environ.get("PATH") or "/usr/local/bin:/usr/bin:/bin", LANG="C.UTF-8",
               HOME=f"{work}/tmp", TMPDIR=f"{work}/tmp", KB_WORK_DIR=work, EE2_CPUS=cpus)
    return env


# ------------------------------------------------------------------------------- running the app


def spawn(argv: list[str], env: dict[str, str], queue: LogQueue) -> tuple[int, list[LineReader]]:
    """Starts the app in a session of its own; returns its pid and the readers of its output."""
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    actions = [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
               (os.POSIX_SPAWN_DUP2, out_end, 1), (os.POSIX_SPAWN_DUP2, err_end, 2)]
    try:
        pid = os.posix_spawn(argv[0], argv, env, file_actions=actions, setsid=True, setsigmask=(),
                             setsigdef=(signal.SIGPIPE, signal.SIGXFSZ))
    except OSError as error:
        os.close(out)
        os.close(err)
        if not os.path.exists(argv[0]):
            reason = "there is no such file"
        elif os.path.isdir(argv[0]):
            reason = "it is a folder"
        elif not os.access(argv[0], os.X_OK):
            reason = "it may not be executed by the job's account (chmod +x?)"
        elif isinstance(error, FileNotFoundError):
            reason = "the interpreter named in its first line, or its loader, is missing"
        else:
            reason = str(error.strerror)
        raise JobError(f"The app's program {argv[0]} cannot be started on the node "
                       f"{os.uname().nodename}: {reason}.") from error
    finally:
        os.close(out_end)
        os.close(err_end)
    os.set_blocking(out, False)
    os.set_blocking(err, False)
    return pid, [LineReader(out, 0, queue), LineReader(err, 1, queue)]


def follow(pid: int, readers: list[LineReader], limits: dict[str, Any], usage: Usage, stop: Stop,
           reporter: Reporter, container: Container | None) -> None:
    """Reads the app's output and keeps its limits until it has ended."""
    poll = select.poll()
    poll.register(stop.wake, select.POLLIN)
    open_readers = {reader.fd: reader for reader in readers}
    for fd in open_readers:
        poll.register(fd, select.POLLIN)
    memory_mb = limits.get("memory_mb")
    started = time.monotonic()
    sample_at, thread_at = started + 0.2, started + reporter.flush_s
    kill_at = drain_until = give_up_at = None
    while True:
        now = time.monotonic()
        time_s = limits.get("time_s")  # it may change while the app runs
        if usage.status is not None:
            drain_until = drain_until or now + DRAIN_SECONDS
            if not open_readers or now >= drain_until:
                return
        if not stop.reason and time_s and now - started >= time_s:
            stop.set("time", duration(time_s))
        if now >= sample_at:
            sample_at = now + 1
            if container is not None:
                container.attach(usage)
            limit = memory_mb * 1024**2 if memory_mb else None
            used = usage.sample(limit)
            if limit and used > limit and not stop.reason:
                stop.set("memory", str(-(-used // 1024**2)))
        if now >= thread_at:
            reporter.start()
            thread_at = now + 3600
        if stop.reason and usage.status is None:
            if kill_at is None:
                kill(pid, signal.SIGTERM, group=True)
                kill_at, give_up_at = now + GRACE_SECONDS, now + GRACE_SECONDS + 10
            elif give_up_at and now >= give_up_at:
                return
            elif now >= kill_at:
                kill(pid, signal.SIGKILL, group=True)
                kill_at = now + 1
        times = [sample_at, thread_at, kill_at, drain_until,
                 started + time_s if time_s and not stop.reason else None]
        wait = min(t for t in times if t is not None) - now
        for fd, _ in poll.poll(max(0, int(wait * 1000) + 1)):
            if fd == stop.wake:
                os.read(fd, 4096)
            elif not open_readers[fd].read():
                poll.unregister(fd)
                os.close(fd)
                del open_readers[fd]
        usage.reap(pid)


def duration(seconds: float) -> str:
    """Returns a span as people say it: '90 s', '1.5 h'."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size * 2 or (unit == "h" and seconds >= size):
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:g} s"


def stopped_error(stop: Stop, limits: dict[str, Any]) -> JobError:
    """Returns the end of a job that was stopped before its app had ended."""
    if stop.reason == "time":
        told = limits.get("time_rule")
        rule = f"The limit is {told}. " if told else ""
        return JobError(
            f"The job reached its time limit of {stop.message} and was stopped. {rule}Ask for a "
            "longer time limit, or give the job less to do.", TIME_LIMIT, "Time limit reached")
    if stop.reason == "memory":
        return JobError(
            f"The job used {stop.message} MB of memory, more than its limit of "
            f"{limits['memory_mb']} MB, and was stopped. Ask for more memory, or give the job "
            "less to do.", CRASHED, "Memory limit reached")
    if stop.reason == "cancelled":
        return JobError("The job was cancelled." + (f" ({stop.message})" if stop.message else ""),
                        STOPPED, "Job cancelled")
    return JobError(
        f"The job was stopped by the scheduler ({stop.message}) before it had ended: its node was "
        "needed or shut down, or the job was removed from the queue. Run it again.",
        STOPPED, "Job stopped")


def crash_error(status: int, last_lines: list[str]) -> JobError:
    """Returns the end of a job whose app ended badly and wrote no output."""
    detail = "\n".join(last_lines)
    said = next((f" Its last message: {line.strip()}" for line in reversed(last_lines)
                 if line.strip()), "")
    if not os.WIFSIGNALED(status):
        return JobError(f"The app failed with exit code {os.WEXITSTATUS(status)}.{said}",
                        CRASHED, "App failed", detail=detail)
    number = os.WTERMSIG(status)
    import signal as names  # for the name only

    try:
        name = names.Signals(number).name
    except ValueError:
        name = "unknown"
    why = {9: " It was killed from outside; most often the node had run out of memory.",
           11: " It read or wrote memory that is not its own, a defect of the program.",
           6: " It gave up by itself after an internal error.",
           4: " It uses instructions that this node's processor does not have."}.get(number, "")
    return JobError(f"The app crashed (signal {number}, {name}).{why}{said}",
                    CRASHED, "App crashed", detail=detail)


def read_output(path: str, job_id: str, status: int, output_kind: str,
                last_lines: list[str]) -> dict[str, Any]:
    """Returns the job's output from the app's output.json; raises JobError for every other end."""
    try:
        size = os.stat(path).st_size
    except OSError:
        if status:
            raise crash_error(status, last_lines) from None
        if output_kind == "none":
            return {}
        raise JobError("The app ended without an error, but wrote no output.json.", NO_OUTPUT,
                       "Output not found", -32601, "\n".join(last_lines)) from None
    if size > OUTPUT_BYTES:
        raise JobError(f"The app's output.json has {size} bytes, more than the limit of 1 GiB. "
                       "Large results belong into files or workspace objects.", CRASHED,
                       "Too much output from a method")
    try:
        with open(path, encoding="utf-8") as file:
            output = loads(file.read())
        if not isinstance(output, dict):
            raise ValueError("an object is needed")
        if not output.get("error") and not isinstance(output.get("result"), list):
            raise ValueError("it has neither a list 'result' nor an 'error'")
    except (OSError, ValueError, RecursionError) as error:
        if status:
            raise crash_error(status, last_lines) from None
        raise JobError(f"The app's output.json cannot be used: {error}.", NO_OUTPUT,
                       "Output not readable") from error
    told = output.get("error")
    if told:
        if not isinstance(told, dict):
            told = {"message": str(told)}
        code = told.get("code")
        detail = told.get("error") or told.get("data") or ""
        raise JobError(
            str(told.get("message") or "The app reported an error without a message."), CRASHED,
            str(told.get("name") or "App error"), code if isinstance(code, int) else -32000,
            detail if isinstance(detail, str) else dumps(detail))
    return {"version": "1.1", "id": job_id, "result": output["result"]}


def work_through(server: Server, claim: dict[str, Any], work: str, stop: Stop, usage: Usage,
                 queue: LogQueue, reporter: Reporter) -> Any:
    """Runs the app from its inputs to its stored outputs; returns the job's output.

    Raises JobError for every other end, and Interrupted while no app is running.
    """
    limits, app = claim.get("limits") or {}, claim["app"]
    for folder in (work, f"{work}/tmp", f"{work}/artifacts"):
        os.mkdir(folder, 0o700)
    os.chdir(work)
    cpus = scheduler_ad().get("RequestCpus") or str(limits.get("cpus") or 1)
    env = app_environment(work, cpus if cpus.isdigit() else "1")
    container = None
    if app["kind"] == "container":
        container = Container(app["image"], f"ee2-{server.job_id}-{server.claim[:8]}")
        argv = container.argv(work, env, limits.get("memory_mb"))
        env.update((name, os.environ[name]) for name in ("HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST")
                   if name in os.environ)  # the engine's own settings
    else:
        argv = [*app_command(app["command"], app.get("folder")), "async"]
    params = claim["job"]["params"]
    artifacts = Artifacts(server, claim["artifacts_url"], claim["submission_id"], stop)
    if app.get("artifacts") != "keep" and "artifact:" in dumps(params):
        reporter.start()
        params = artifacts.fetch(params, f"{work}/inputs",
                                 f"{CONTAINER_WORK if container else work}/inputs")
    write_inputs(work, server, claim, params)
    stop.check()
    stop.interruptible = False
    adopt_orphans()
    usage.started = time.monotonic()
    pid, readers = spawn(argv, env, queue)
    try:
        follow(pid, readers, limits, usage, stop, reporter, container)
    finally:
        kill_all(pid, usage)
        if container is not None:
            container.remove(work)
    stop.check()
    if usage.status is None:
        raise JobError("The app could not be ended, and how it went is not known.")
    last_lines = readers[1].last
    output = read_output(f"{work}/output.json", server.job_id, usage.status,
                         app.get("output") or "json", last_lines)
    if os.listdir(f"{work}/artifacts") or "artifact:" in dumps(output):
        reporter.start()
        stop.interruptible = True
        output = artifacts.store(output, f"{work}/artifacts")
    return output


def run(server: Server, claim: dict[str, Any], work: str, stop: Stop, queue: LogQueue,
        reporter: Reporter) -> dict[str, Any]:
    """Runs the claimed job; returns what `finish` takes, whatever happens."""
    usage = Usage()
    try:
        try:
            stop.interruptible = True
            stop.check()
            output = work_through(server, claim, work, stop, usage, queue, reporter)
        finally:
            stop.interruptible = False
        return {"output": output, "error_code": None, "usage": usage.values()}
    except JobError as error:
        ending = error
    except Interrupted:
        ending = stopped_error(stop, claim.get("limits") or {})
    except Exception as error:  # a defect here must end the job with a message, not hang it
        import traceback

        ending = JobError(f"The node {os.uname().nodename} could not run the job: {error}.",
                          CRASHED, "Runner failed", detail=traceback.format_exc())
    return {"error": ending.error, "error_code": ending.code, "usage": usage.values()}


def finish(server: Server, queue: LogQueue, reporter: Reporter, ending: dict[str, Any]) -> int:
    """Sends the rest of the log and the job's end; returns the runner's exit code."""
    try:
        key, lines = queue.head()
        while queue.more():
            retry(FINISH_SECONDS, reporter.send, key, lines)
            key, lines = queue.head()
        key = key or f"{server.claim}-end"
        params = {"key": key, "lines": lines, **ending}
        try:
            retry(FINISH_SECONDS, server.call, "finish", params)
        except Refused as error:
            if "output" not in ending:
                raise
            # An output that the server cannot take (too large, say) is an end of its own.
            refused = JobError(f"The server did not take the app's output: {error}.",
                               name="Output refused")
            params = {"key": key, "lines": lines, "error": refused.error,
                      "error_code": CRASHED, "usage": ending["usage"]}
            retry(FINISH_SECONDS, server.call, "finish", params)
    except Refused as error:
        # Ended already (cancelled, or taken over by another run): the server knows.
        print(f"ee2_runner: the server refused the finish: {error}", file=sys.stderr)
    except Unavailable as error:
        print(f"ee2_runner: the job's end could not be told: {error}", file=sys.stderr)
        return EXIT_UNTOLD
    return 0


def delegate(claim: dict[str, Any], server: Server, ad: dict[str, str], scheduler_id: str) -> int:
    """Becomes KBase's JobRunner (or what the server names), which does the rest itself."""
    argv = [*claim["delegate"], server.job_id, server.url]
    env = {**os.environ, "KB_AUTH_TOKEN": claim.get("user_token") or server.token,
           "KB_ADMIN_AUTH_TOKEN": server.token, "JOB_ID": server.job_id, "CONDOR_ID": scheduler_id,
           "CLIENTGROUP": str(claim.get("client_group") or "")}
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        print(f"ee2_runner: {argv[0]} cannot be started: {error}", file=sys.stderr)
        return EXIT_UNTOLD


def main(arguments: list[str]) -> int:
    """Runs one job; returns the exit code (see the top of this file)."""
    if len(arguments) != 2:
        print("usage: ee2_runner.py <job id> <rpc url>, the job's token on standard input",
              file=sys.stderr)
        return 2
    token = sys.stdin.readline(65536).strip()
    if not token or not token.isascii() or not token.isprintable():
        print("ee2_runner: no token on standard input", file=sys.stderr)
        return 2
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    scratch, own_scratch = os.path.abspath(os.environ.get("_CONDOR_SCRATCH_DIR", "")), False
    stop = Stop()
    ad = scheduler_ad()
    scheduler_id = scheduler_id_of(ad)
    starts = ad.get("NumShadowStarts", "1")
    try:
        server = Server(arguments[1], token, arguments[0])
        claim = retry(CLAIM_SECONDS, server.call, "claim", {
            "scheduler_id": scheduler_id, "starts": int(starts) if starts.isdigit() else 1,
            "host": os.uname().nodename, "where": whereabouts(ad)})
        stop.interruptible = False
        if not isinstance(claim, dict):
            raise Refused("its answer is empty")
    except (Unavailable, Interrupted) as error:
        print(f"ee2_runner: the job could not be claimed: {error}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except (Refused, ValueError) as error:
        print(f"ee2_runner: the server refused the claim: {error}", file=sys.stderr)
        return EXIT_REFUSED
    if not claim.get("proceed"):
        print(f"ee2_runner: nothing to do: {claim.get('reason')}", file=sys.stderr)
        return 0
    if claim.get("delegate"):
        return delegate(claim, server, ad, scheduler_id or "")
    if not os.environ.get("_CONDOR_SCRATCH_DIR"):
        import tempfile

        scratch, own_scratch = tempfile.mkdtemp(prefix="ee2-job-"), True
    queue = LogQueue(server.claim, f"{scratch}/.ee2/log")
    reporter = Reporter(server, queue, stop, claim)
    try:
        ending = run(server, claim, f"{scratch}/work", stop, queue, reporter)
        reporter.close()
        return finish(server, queue, reporter, ending)
    finally:
        if own_scratch:
            import shutil

            os.chdir("/")
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # nothing is left to clean up; saves the interpreter's slow way out
