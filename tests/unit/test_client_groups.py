"""The file of client groups: what may stand in it, errors with their lines, reading it again."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from ee2_jobs.catalog import AppRequirements
from ee2_jobs.client_groups import (
    ClientGroup,
    ClientGroups,
    GroupsFile,
    load_client_groups,
    read_groups,
)
from ee2_jobs.errors import InvalidInput
from ee2_jobs.requirements import Requirements, resolve

REPO = Path(__file__).parents[2]
GOOD = """\
default: njs
groups:
  njs: {cpus: 1, memory_mb: 200, disk_gb: 1}
  bigmem:
    cpus: 2
    memory_mb: 1000
    disk_gb: 2
    requires: {CLIENTGROUP: bigmem}
  hpc:
    cpus: 4
    memory_mb: 1000
    disk_gb: 2
    route: cluster
routes:
  cluster:
    slurm: {partition: debug}
  elsewhere:
    condor: {schedd: submit.example.org, pool: "cm.example.org:9618"}
"""


def test_the_file_that_comes_with_the_engine_is_good() -> None:
    groups = load_client_groups(REPO / "client_groups.yaml")
    assert groups.default == "njs" and len(groups.groups) == 10
    assert groups.groups["njs"].max_created_s == 3600
    assert groups.groups["njs"].max_queued_s == 14 * 86400


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cpus: 2", "cpus: two", ["line 5: groups.bigmem.cpus: Input should be a valid integer"]),
        ("cpus: 2", "cpus: 0", ["line 5", "greater than or equal to 1"]),
        ("cpus: 2", "cpu: 2", ["line 5: groups.bigmem.cpu is not known", "cpus is missing"]),
        ("default: njs", "default: x", ["line 1", "names the default group 'x'", "njs, bigmem"]),
        ("  njs:", "  bigmem:", ["line 4: 'bigmem' stands in line 3 already"]),
        ("  njs:", "  a=b:", ["line 3: groups.a=b", "'a=b' is not the name of a client group"]),
        ("route: cluster", "route: other", ["line 13: groups.hpc.route: there is no route 'other'",
                                            "pool, cluster, elsewhere"]),
        ("route: cluster", 'route: GROUP == "x"', ["line 13", "`requirements`", "`requires`"]),
        ("route: cluster", "route: cluster\n    requires: {A: b}", ["line 14", "go to Slurm"]),
        ("bigmem}", '"a b"}', ["line 4", "'a b' is not a value"]),
        ("bigmem}", "[]}", ["line 4", "CLIENTGROUP needs at least one value"]),
        ("{CLIENTGROUP", "{CLIENT-GROUP", ["line 4", "'CLIENT-GROUP' is not the name"]),
        ("memory_mb: 1000\n    disk_gb: 2\n    requires", "memory_mb: 9\n    max_memory_mb: 8\n"
         "    disk_gb: 2\n    requires", ["line 4", "memory_mb 9 is above max_memory_mb 8"]),
        ("slurm: {partition: debug}", "{}", ["line 15", "either `condor` or `slurm`"]),
        ("partition: debug", "partition: de bug", ["line 16", "not the name of a partition"]),
        (":9618", "", ["line 18: routes.elsewhere.condor.pool", "host:port"]),
        ("  elsewhere:", "  pool:", ["line 17", "'pool' is this engine's own pool"]),
        ("njs: {cpus: 1", "njs: {cpus: 1}}", ["line 3"]),
        ("\ngroups:", "\n\tgroups:", ["line 2"]),
        ("cpus: 2", "cpus: !!python/name:os.system x", ["line 5", "python/name"]),
    ],
)  # fmt: skip
def test_an_error_names_its_line(old: str, new: str, told: list[str]) -> None:
    assert old in GOOD
    with pytest.raises(InvalidInput) as e:
        read_groups(GOOD.replace(old, new, 1), "groups.yaml")
    assert str(e.value).startswith("groups.yaml, line ")
    assert all(text in str(e.value) for text in told), str(e.value)


def test_all_that_is_wrong_is_told_at_once_and_an_empty_file_is_no_file() -> None:
    with pytest.raises(InvalidInput) as e:
        read_groups(GOOD.replace("cpus: 2", "cpus: x").replace("cpus: 4", "cpus: y"), "f")
    assert "line 5: " in str(e.value) and "line 10: " in str(e.value)
    with pytest.raises(InvalidInput, match="f is empty"):
        read_groups("# nothing\n", "f")


def one(**more: object) -> ClientGroup:
    return ClientGroup.model_validate({"cpus": 1, "memory_mb": 1, "disk_gb": 1, **more})


def test_what_is_required_becomes_a_comparison() -> None:
    """What the pool makes of it is tested in tests/services/test_routes.py."""
    several = one(requires={"CLIENTGROUP": ["a", "b"], "HasGPU": True, "Rack": 3})
    assert several.machine_requirements() == (
        '(stringListMember("a", TARGET.CLIENTGROUP) || stringListMember("b", TARGET.CLIENTGROUP))'
        " && TARGET.HasGPU =?= true && TARGET.Rack == 3"
    )
    both = one(requires={"A": "x"}, requirements="TARGET.B || TARGET.C")
    assert both.machine_requirements() == (
        'stringListMember("x", TARGET.A) && (TARGET.B || TARGET.C)'
    )
    assert one().machine_requirements() is None
    assert one(requirements="TARGET.B").machine_requirements() == "TARGET.B"


def test_ceilings_name_group_figure_and_who_asked() -> None:
    group = one(max_cpus=4, max_memory_mb=100, max_disk_gb=2, max_time_limit_s=600)
    groups = ClientGroups(default="njs", groups={"njs": group})

    def get(asked: object = None, **app: int) -> Requirements:
        return resolve(asked, AppRequirements(**app), groups, may_ask=True, method="m.f")

    assert get({"request_cpus": 4}).cpus == 4
    assert get().time_limit_s == 600, "a job without a limit would go past the ceiling"
    for key, value, ceiling in (
        ("request_cpus", 5, "4 cores (max_cpus)"),
        ("request_memory", 101, "100 MB of memory (max_memory_mb)"),
        ("request_disk", 3, "2 GB of disk (max_disk_gb)"),
        ("time_limit_s", 601, "600 s to run (max_time_limit_s)"),
    ):
        with pytest.raises(InvalidInput) as e:
            get({key: value})
        for text in ("client group 'njs'", ceiling, f"{value} were asked for by input job"):
            assert text in str(e.value)
    with pytest.raises(InvalidInput, match="by catalog method m.f"):
        get(None, cpus=9)


def write(path: Path, text: str, age_s: float = 10) -> None:
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_a_changed_file_is_read_again_and_a_wrong_one_is_not_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "groups.yaml"
    write(path, GOOD)
    groups = GroupsFile(path, look_s=0)
    first_s = groups.loaded_at_s
    assert list(groups.groups) == ["njs", "bigmem", "hpc"] and groups.problem is None

    write(path, GOOD.replace("cpus: 2", "cpus: two"), 9)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert groups.groups["bigmem"].cpus == 2
    assert groups.problem and f"{path}, line 5" in groups.problem
    assert len(caplog.records) == 1 and "stays in force" in caplog.text
    assert groups.loaded_at_s == first_s

    path.unlink()
    assert groups.default == "njs" and groups.problem and "cannot be read" in groups.problem
    write(path, GOOD.replace("cpus: 2", "cpus: 3").replace("default: njs", "default: hpc"), 8)
    assert (groups.groups["bigmem"].cpus, groups.default) == (3, "hpc")
    assert groups.problem is None and groups.loaded_at_s > first_s


def test_a_file_that_is_being_written_is_left_for_a_moment(tmp_path: Path) -> None:
    path = tmp_path / "groups.yaml"
    write(path, GOOD)
    groups = GroupsFile(path, look_s=0)
    write(path, GOOD[: GOOD.index("  hpc")], 0)
    assert "hpc" in groups.groups and groups.problem is None
    write(path, GOOD.replace("cpus: 2", "cpus: 5"), 1)
    assert groups.groups["bigmem"].cpus == 5


def test_it_is_looked_at_once_a_second_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "groups.yaml"
    write(path, GOOD)
    groups = GroupsFile(path)
    write(path, GOOD.replace("cpus: 2", "cpus: 5"), 9)
    assert groups.groups["bigmem"].cpus == 2
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.1)
    assert groups.groups["bigmem"].cpus == 5


def test_a_first_file_that_is_wrong_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "groups.yaml"
    with pytest.raises(InvalidInput, match="cannot be read"):
        GroupsFile(path)
    write(path, "default: x\n")
    with pytest.raises(InvalidInput, match="line 1: groups is missing"):
        GroupsFile(path)
