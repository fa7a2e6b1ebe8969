"""Records of jobs that tests of lists make themselves, and the lists over REST."""

from __future__ import annotations

import time
from typing import Any

from bson import ObjectId

from tests.services.rpc_support import Bridge
from tests.services.test_rest import message

NOW_S = int(time.time())
DAY_S = 86_400


def oid(second: float) -> ObjectId:
    """An id made at that time."""
    return ObjectId(f"{int(second):08x}{str(ObjectId())[8:]}")


class World:
    """A bridge whose records tests make themselves."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def add(self, user: str = "alice", status: str = "completed", **more: Any) -> str:
        """A record; made: when, s. Others as given, `app` and `group` in job_input."""
        made = more.pop("made", NOW_S - 1000)
        module_app = more.pop("app", "m/f")
        ended = {"running": made + 10.0, "finished": made + 70.0}
        live = {"running": made + 10.0} if status == "running" else {}
        record = {
            "_id": oid(made), "user": user, "status": status, "authstrat": "kbaseworkspace",
            "updated": made, "batch_job": False, "retry_ids": [], "child_jobs": [],
            "job_input": {
                "app_id": module_app, "method": module_app.replace("/", "."),
                "params": [{"secret": "x" * 1000}],
                "requirements": {"clientgroup": more.pop("group", "njs")},
            },
            **(ended if status in ("completed", "error", "terminated") else live),
            **more,
        }  # fmt: skip
        self.bridge.db.ee2_jobs.insert_one(record)
        return str(record["_id"])

    def page(self, who: str = "alice", expect: int = 200, **words: Any) -> Any:
        """The answer of GET /jobs, or the message of an error."""
        answer = self.get("/jobs", who, **words)
        return answer.json() if expect == 200 else message(answer, expect)

    def get(self, path: str, who: str | None = "alice", **words: Any) -> Any:
        given = {name.rstrip("_"): value for name, value in words.items()}
        token = self.bridge.token(who)
        headers = {} if token is None else {"Authorization": token}
        url = f"{self.bridge.url}/api/v1{path}"
        return self.bridge.http.get(url, params=given, headers=headers)

    def ids(self, who: str = "alice", **words: Any) -> list[str]:
        """The ids of the first page."""
        answer = self.get("/jobs", who, **words)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json()["items"]]
