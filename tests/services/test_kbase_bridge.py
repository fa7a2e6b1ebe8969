"""A live bridge whose users, workspaces and apps are KBase's: what its clients see of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.fakes.kbase_auth import FakeAuth
from tests.fakes.kbase_catalog import FakeCatalog
from tests.fakes.kbase_workspace import ADMIN_TOKEN, FakeSpace, FakeWorkspace
from tests.services.conftest import free_port
from tests.services.rpc_support import Bridge, RpcError

COMMIT = "c" * 40


@dataclass
class KBase:
    """The bridge and the stand-ins behind it. `who` is a token here, not a name."""

    bridge: Bridge
    auth: FakeAuth
    workspace: FakeWorkspace
    catalog: FakeCatalog
    alice: str
    rob: str
    bob: str
    root: str
    eva: str


@pytest.fixture(scope="module")
def kbase(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KBase]:
    auth, catalog = FakeAuth(), FakeCatalog()
    workspace = FakeWorkspace(auth.tokens)
    bridge = Bridge(
        mongo_uri, tmp_path_factory.mktemp("artifacts"), free_port(),
        auth_url=auth.url, workspace_url=workspace.url + "/", catalog_url=catalog.url,
        workspace_admin_token=ADMIN_TOKEN, admin_role="BOSS", admin_read_role="LOOK",
    )
    workspace.spaces[7] = FakeSpace({"alice": "a", "rob": "r"})
    catalog.add("Mod", COMMIT, "release")
    bridge.start()
    tokens = [auth.add_user(name) for name in ("alice", "rob", "bob")]
    tokens += [auth.add_user("root", "BOSS"), auth.add_user("eva", "LOOK")]
    bridge.tokens.update({token: token for token in tokens})
    yield KBase(bridge, auth, workspace, catalog, *tokens)
    bridge.stop()
    for server in (auth, workspace, catalog):
        server.stop()


def run(kbase: KBase, **more: object) -> str:
    params = {"method": "Mod.f", "wsid": 7, **more}
    return str(kbase.bridge.call("run_job", params, who=kbase.alice))


def test_a_job_runs_the_catalogs_code_for_auth2s_user(kbase: KBase) -> None:
    kbase.catalog.groups["Mod.f"] = ["bigmem", "request_cpus=3"]
    job_id = run(kbase)
    record = kbase.bridge.record(job_id)
    assert record["user"] == "alice"
    assert record["job_input"]["service_ver"] == COMMIT
    assert record["job_input"]["requirements"] == {
        "clientgroup": "bigmem", "cpu": 3, "memory": 10, "disk": 1,
    }
    assert kbase.alice not in str(record), "the user's token is on record"
    told = {"job_id": job_id, "claim": "c" * 32, "scheduler_id": "1.0", "starts": 1, "host": "n"}
    claimed = kbase.bridge.call("ee2_runner.claim", told, who=job_id)
    assert claimed["app"]["image"] == f"registry.example.org/Mod:{COMMIT}"
    assert claimed["config"]["workspace_url"] == kbase.workspace.url


def test_a_workspace_reader_reads_and_a_stranger_does_not(kbase: KBase) -> None:
    job_id = run(kbase)
    assert kbase.bridge.call("check_job", {"job_id": job_id}, who=kbase.rob)["user"] == "alice"
    with pytest.raises(RpcError, match="does not have permission to JobPermissions.WRITE"):
        kbase.bridge.call("cancel_job", {"job_id": job_id}, who=kbase.rob)
    with pytest.raises(RpcError, match="Cannot find job with ids"):
        kbase.bridge.call("get_job_status", {"job_id": job_id}, who=kbase.bob)
    seen = kbase.bridge.call("check_job", {"job_id": job_id}, who=kbase.bob)
    assert "user" not in seen and "failure" in seen
    with pytest.raises(RpcError, match="User bob doesn't have permission to run jobs in workspace"):
        kbase.bridge.call("run_job", {"method": "Mod.f", "wsid": 7}, who=kbase.bob)


def test_administrators_are_those_with_the_role(kbase: KBase) -> None:
    job_id = run(kbase)
    ask = {"job_id": job_id, "as_admin": True}
    assert kbase.bridge.call("get_admin_permission", who=kbase.root) == {"permission": "w"}
    assert kbase.bridge.call("get_admin_permission", who=kbase.eva) == {"permission": "r"}
    assert kbase.bridge.call("get_admin_permission", who=kbase.bob) == {"permission": "n"}
    assert kbase.bridge.call("check_job", ask, who=kbase.eva)["job_id"] == job_id
    with pytest.raises(RpcError, match="You are a read-only admin"):
        kbase.bridge.call("cancel_job", ask, who=kbase.eva)
    kbase.bridge.call("cancel_job", ask, who=kbase.root)
    assert kbase.bridge.record(job_id)["status"] == "terminated"


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("NOBODYS", "Token validation failed: Error connecting to auth service: 401 Unauthorized\n"
         "10020 Invalid token"),
        ("", "Token validation failed: Must supply token"),
    ],
)
def test_bad_tokens_get_ee2s_texts(kbase: KBase, token: str, text: str) -> None:
    body = {"version": "1.1", "id": "1", "method": "execution_engine2.is_admin", "params": []}
    answer = kbase.bridge.post(body, token)
    assert answer.status_code == 500
    assert answer.json()["error"]["message"] == text
    assert answer.json()["error"]["code"] == -32000


def test_clients_are_told_where_the_services_are(kbase: KBase) -> None:
    config = kbase.bridge.call("list_config", who=None)
    assert config["workspace-url"] == kbase.workspace.url
    assert config["catalog-url"] == kbase.catalog.url
    assert config["auth-service-url"] == kbase.auth.url + "/api/legacy/KBase/Sessions/Login"
    assert config["auth-service-url-v2"] == kbase.auth.url + "/api/V2/token"
    assert config["external-url"] == kbase.bridge.url


def test_apps_that_are_not_there(kbase: KBase) -> None:
    with pytest.raises(RpcError, match="There is no app 'Gone' in KBase's Catalog"):
        kbase.bridge.call("run_job", {"method": "Gone.f"}, who=kbase.alice)
    with pytest.raises(RpcError, match="The app Mod has no version 'beta' in KBase's Catalog"):
        kbase.bridge.call("run_job", {"method": "Mod.f", "service_ver": "beta"}, who=kbase.alice)
    # Ours are still there.
    assert kbase.bridge.call("run_job", {"method": "m.f"}, who=kbase.alice)


def test_an_object_that_is_not_there_is_named(kbase: KBase) -> None:
    with pytest.raises(RpcError, match="Some workspace object is inaccessible: 7/99/1"):
        run(kbase, source_ws_objects=["7/99/1"])


def test_with_a_dead_workspace_the_rest_goes_on(kbase: KBase) -> None:
    """Last: the workspace is left alone for seconds after it."""
    job_id = run(kbase)
    unseen = kbase.auth.add_user("zoe")
    kbase.bridge.tokens[unseen] = unseen
    kbase.workspace.stop()
    ask = {"job_id": job_id}
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        with pytest.raises(RpcError, match="KBase's Workspace service does not answer.*try again"):
            try:
                kbase.bridge.call("check_job", ask, who=unseen)
            except RpcError as e:
                assert e.code == -32603
                raise
        spent.append(time.perf_counter() - started)
    assert spent[0] < 5 and min(spent[1:]) < 0.1, spent
    # The owner needs no workspace, and a job's own token neither.
    assert kbase.bridge.call("check_job", ask, who=kbase.alice)["status"] == "created"
    assert kbase.bridge.call("get_job_status", ask, who=job_id) == {"status": "created"}
