"""A client of Execution Engine 2: run apps, wait for them, get what they returned.

    from ee2_client import Client

    with Client("https://…/services/ee2", token) as ee2:
        job_id = ee2.run_job("Module.method", [{"reads": "…"}])
        ee2.wait(job_id, progress=True)
        print(ee2.result(job_id))

Without arguments, address and token are those of the variables EE2_URL and EE2_TOKEN. AsyncClient
has the same methods to be awaited. It imports httpx, and rich for the progress bar only.
"""

from ee2_client.async_client import AsyncClient
from ee2_client.errors import (
    EngineError,
    MethodNotFound,
    NoResult,
    NotAuthenticated,
    NotFound,
    Unavailable,
    WaitedTooLong,
)
from ee2_client.sync_client import Client
from ee2_client.values import Batch, BatchState, JobState, LogLine, Progress, Retried

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Batch",
    "BatchState",
    "Client",
    "EngineError",
    "JobState",
    "LogLine",
    "MethodNotFound",
    "NoResult",
    "NotAuthenticated",
    "NotFound",
    "Progress",
    "Retried",
    "Unavailable",
    "WaitedTooLong",
]
