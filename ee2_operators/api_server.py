"""Start Airflow's API server so that a restart refuses no connection:
`python -m ee2_operators.api_server [options of airflow api-server]`.

A process that serves nothing holds the listening socket; its workers accept from it. On SIGHUP each
worker is replaced by a new one with the code as it is now: the new one serves before the old one
stops accepting and finishes what it has. A worker that dies is replaced. Meanwhile connections wait
in the socket's queue. `airflow api-server` alone would refuse them for some ten seconds, and
KBase's JobRunner ends a healthy job after 1.5 s of that (docs/adr/0017).

With --host and --port the socket is open at once; otherwise only when Airflow has told its
configuration, which takes seconds.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from functools import partial

BACKLOG = 2048
# For the workers of a holder that was killed to leave the port.
_BIND_S = 30


def main() -> None:
    """See the module."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there are workers to replace
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    given, _ = parser.parse_known_args()
    early = listen(given.host, given.port) if given.host and given.port else None

    # Not before: these imports take longer than a runner waits.
    from ee2_operators.airflow_internals import run, serve_with
    from ee2_operators.api_workers import serve

    os.environ["AIRFLOW__API__SERVER_TYPE"] = "uvicorn"
    serve_with(partial(serve, early))
    run("api-server", sys.argv[1:])


def listen(host: str, port: int) -> socket.socket:
    """A socket whose queue takes connections from now on; OSError if the port stays taken."""
    deadline = time.monotonic() + _BIND_S
    while True:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)
            return listener
        except OSError:
            listener.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


# The workers load this file again, so nothing happens at import.
if __name__ == "__main__":
    main()
