"""Requirements: precedence, forms and texts of EE2 (its sections 5.2 and 5.3)."""

from pathlib import Path

import pytest

from ee2_jobs.catalog import AppRequirements
from ee2_jobs.client_groups import ClientGroup, ClientGroups, load_client_groups
from ee2_jobs.errors import InvalidInput
from ee2_jobs.requirements import Requirements, resolve
from ee2_jobs.settings import load_settings

GROUPS = ClientGroups(
    default="njs",
    groups={
        "njs": ClientGroup(cpus=4, memory_mb=2000, disk_gb=30),
        "bigmem": ClientGroup(cpus=8, memory_mb=9000, disk_gb=60, time_limit_s=100),
    },
)


def get(requested: object = None, app: AppRequirements | None = None) -> Requirements:
    return resolve(
        requested, app or AppRequirements(), GROUPS, may_ask=True, method="m.f"
    )


def test_the_client_comes_before_the_catalog_and_that_before_the_group() -> None:
    app = AppRequirements(cpus=3, memory_mb=700, client_group="bigmem")
    got = get({"request_cpus": "2"}, app)
    assert (got.cpus, got.memory_mb, got.disk_gb, got.client_group) == (2, 700, 60, "bigmem")
    assert got.time_limit_s == 100
    assert got.requested == {"request_cpus": 2}


def test_the_defaults_are_those_of_the_group_that_was_chosen() -> None:
    got = get({"client_group": " bigmem "})
    assert got.record() == {"clientgroup": "bigmem", "cpu": 8, "memory": 9000, "disk": 60}


@pytest.mark.parametrize(
    ("requested", "text"),
    [
        ({"request_cpus": 1.5}, "illegal cpu request '1.5' in job requirements from input job"),
        ({"request_cpus": True}, "Found illegal cpu request"),
        ({"request_cpus": 0}, "CPU count must be at least 1"),
        ({"request_memory": "4G"}, "Found illegal memory request '4G'"),
        ({"request_memory": 0}, "memory in MB must be at least 1"),
        ({"request_disk": "5MB"}, "Found illegal disk request '5MB'"),
        ({"request_disk": "0GB"}, "disk space in GB must be at least 1"),
        ({"client_group": "a=b"}, "Found illegal client group 'a=b'"),
        ({"client_group": "nope"}, "No such clientgroup: nope"),
        ([], "job_requirements must be a mapping"),
    ],
)
def test_wrong_requests_are_named(requested: object, text: str) -> None:
    with pytest.raises(InvalidInput) as e:
        get(requested)
    assert text in str(e.value)


@pytest.mark.parametrize("memory", [2000, "2000", "2000M", "2000MB", " 2000 mb "])
def test_forms_of_memory(memory: object) -> None:
    assert get({"request_memory": memory}).memory_mb == 2000


def test_only_an_administrator_may_ask_and_values_are_checked_first() -> None:
    def as_user(requested: object) -> Requirements:
        return resolve(requested, AppRequirements(), GROUPS, may_ask=False, method="m.f")

    with pytest.raises(InvalidInput, match="you must be a full admin"):
        as_user({"request_cpus": 2})
    with pytest.raises(InvalidInput, match="illegal cpu"):
        as_user({"request_cpus": "many"})
    assert as_user({}).cpus == 4
    assert as_user({"request_cpus": None, "client_group": ""}).client_group == "njs"


def test_a_group_that_the_catalog_names_wrongly_blames_the_catalog() -> None:
    with pytest.raises(InvalidInput) as e:
        get(None, AppRequirements(client_group="gone"))
    assert str(e.value) == "Catalog specified illegal client group 'gone' for method m.f"


def test_a_default_group_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "groups.yaml"
    path.write_text("default: x\ngroups: {njs: {cpus: 1, memory_mb: 1, disk_gb: 1}}\n")
    with pytest.raises(InvalidInput, match="names the default group 'x'"):
        load_client_groups(path)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(InvalidInput) as e:
        load_settings({"rpc_url": "http://x/ee2", "max_batch_jobs": "many"})
    assert "[ee2] max_batch_jobs" in str(e.value)
    assert "[ee2] secret_key: Field required" in str(e.value)
