"""The API server's workers under uvicorn's own supervisor, with what a restart under load needs."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import socket
import sys
from typing import Any

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from ee2_operators.api_server import listen

# As in api_bridge/rest/changes.py, which takes long to load.
STREAM_END = "ee2.stream_end"

_log = logging.getLogger(__name__)

# How long a worker that ends still listens to connections that it has and that are silent: more
# than the second between two calls of a runner, so that their ends meet no call on its way.
_DRAIN_S = 1.5
_PR_SET_PDEATHSIG = 1


def serve(listener: socket.socket | None, app: str, **options: Any) -> None:
    """In place of `uvicorn.run`: run `workers` workers until SIGTERM or SIGINT.

    listener: the open socket, if there is one already. options: uvicorn's.
    """
    config = WorkerConfig(app, http=DrainingProtocol, **options)
    with listener or listen(config.host, config.port) as held:
        held.set_inheritable(True)
        Workers(config, sockets=[held]).run()


class WorkerConfig(Config):
    """uvicorn's settings; loading them is the first thing that a worker does."""

    def load(self) -> None:
        """Have the worker end with its parent, then load the application."""
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:  # it was faster
            os._exit(1)
        try:
            super().load()
        except Exception:
            # Said so, the supervisor does not try for ever; the traceback is in the log.
            _log.exception("The API server's application cannot be loaded")
            sys.exit(STARTUP_FAILURE)


class Workers(Multiprocess):
    """uvicorn's supervisor; it replaces workers that die, and all of them on SIGHUP."""

    def keep_subprocess_alive(self) -> None:
        """Replace dead workers."""
        for process in self.processes:
            # The supervisor's copy of the worker's end of their pipe. With it open, a worker that
            # is killed while it is asked for a sign of life is waited for until the time-out (2
            # minutes).
            process.child_conn.close()
        super().keep_subprocess_alive()


class DrainingProtocol(HttpToolsProtocol):
    """A connection that is not closed in the face of a call that is on its way when the worker
    ends: for a while it still takes one, and tells the client that it was the last."""

    _draining = False

    def shutdown(self) -> None:
        """The worker ends."""
        self._draining = True
        # Changes of jobs are told without end: the stream is asked to end itself, and its client
        # comes back to another worker.
        end = self.scope["state"].get(STREAM_END) if self.cycle is not None else None
        if end is not None:
            end.set()
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_DRAIN_S, super().shutdown)
        else:
            super().shutdown()

    def on_headers_complete(self) -> None:
        """A request begins."""
        super().on_headers_complete()
        if self._draining and self.cycle is not None:
            self.cycle.keep_alive = False
