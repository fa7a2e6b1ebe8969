"""`GET /groups`: the client groups, for everybody who is signed in."""

from __future__ import annotations

from tests.services.rpc_support import Bridge


def test_the_groups_in_force(bridge: Bridge) -> None:
    url = f"{bridge.url}/api/v1/groups"
    answer = bridge.http.get(url, headers={"Authorization": bridge.tokens["bob"]})
    assert answer.status_code == 200
    found = answer.json()
    assert [(g["name"], g["default"], g["route"], g["kind"]) for g in found["groups"]] == [
        ("njs", True, "pool", "pool"), ("bigmem", False, "pool", "pool")]  # fmt: skip
    first = found["groups"][0]
    assert first["defaults"] == {"cpus": 1, "memory_mb": 10, "disk_gb": 1, "time_limit_s": None}
    assert set(first["ceilings"].values()) == {None} and found["problem"] is None
    again = {"Authorization": bridge.tokens["bob"], "If-None-Match": answer.headers["etag"]}
    assert bridge.http.get(url, headers=again).status_code == 304
    assert bridge.http.get(url).status_code == 401
