"""The file of client groups: named kinds of places where jobs run, and the routes to them.

The file is read again when it changes, without a restart. One with an error is not taken: what was
in force stays in force, and the error is told with the line it is in (`GroupsFile.problem`).
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ee2_jobs.errors import InvalidInput

POOL_ROUTE = "pool"  # the route of groups that name none: this engine's own pool
LOOK_S = 1.0  # how often, at most, a process looks whether the file has changed
SETTLED_S = 0.3  # a file that was written to more recently may be half written

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_ATTRIBUTE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VALUE = re.compile(r"[A-Za-z0-9_.:@/+-]{1,200}")
_HOST_PORT = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}")
_SCHEDD = re.compile(r"[A-Za-z0-9_.@-]{1,200}")

Simple = str | int | bool


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"'{value}' is not {what}")
        return value

    return AfterValidator(check)


def _route_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"'{value}' is not the name of a route. `route` names where the group's jobs go "
            f"('{POOL_ROUTE}' or one of `routes`); a ClassAd requirement on the machines, which "
            "used to stand here, now stands in `requirements`, or simpler in `requires`"
        )
    return value


class CondorRoute(BaseModel):
    """Another schedd, reached from ours by HTCondor-C."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schedd: Annotated[str, _matching(_SCHEDD, "the name of a schedd")]
    pool: Annotated[str, _matching(_HOST_PORT, "the address host:port of a collector")]


class SlurmRoute(BaseModel):
    """A Slurm cluster whose commands (sbatch, squeue, scancel) work on our schedd's machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Annotated[str, _matching(_NAME, "the name of a partition")] | None = None
    account: Annotated[str, _matching(_NAME, "the name of an account")] | None = None
    qos: Annotated[str, _matching(_NAME, "the name of a quality of service")] | None = None


class Route(BaseModel):
    """A way by which jobs leave this engine's pool; exactly one kind is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    condor: CondorRoute | None = None
    slurm: SlurmRoute | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.condor is None) == (self.slurm is None):
            raise ValueError("a route has either `condor` or `slurm`")
        return self


class ClientGroup(BaseModel):
    """A named kind of places where jobs run: defaults, ceilings, and how jobs get there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: str = ""
    cpus: int = Field(ge=1, description="default cores of a job", examples=[4])
    memory_mb: int = Field(ge=1, description="default memory of a job, MB", examples=[2000])
    disk_gb: int = Field(ge=1, description="default scratch space of a job, GB", examples=[30])
    time_limit_s: int | None = Field(default=None, ge=1, description="default time limit, s")
    max_cpus: int | None = Field(default=None, ge=1, description="cores of a job at most")
    max_memory_mb: int | None = Field(default=None, ge=1, description="memory at most, MB")
    max_disk_gb: int | None = Field(default=None, ge=1, description="scratch space at most, GB")
    max_time_limit_s: int | None = Field(
        default=None, ge=1, description="time limit at most, s; also that of jobs without one"
    )
    max_created_s: int = Field(
        default=3600, ge=60, description="a job that is `created` for longer is given up, s"
    )
    max_queued_s: int = Field(
        default=14 * 86400, ge=60, description="a job that is `queued` for longer is given up, s"
    )
    requires: dict[str, Simple | list[Simple]] = Field(
        default_factory=dict,
        description="machine attribute to the value, or to one of the values, it must have",
        examples=[{"CLIENTGROUP": "bigmem"}],
    )
    requirements: str | None = Field(
        default=None,
        description="ClassAd requirement on the machine, as it stands",
        examples=["TARGET.HasGPU && TARGET.Memory > 100000"],
    )
    route: Annotated[str, AfterValidator(_route_name)] = Field(
        default=POOL_ROUTE, description="where its jobs go: `pool`, or one of the file's routes"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("cpus", "memory_mb", "disk_gb", "time_limit_s"):
            default, ceiling = getattr(self, name), getattr(self, f"max_{name}")
            if default is not None and ceiling is not None and default > ceiling:
                raise ValueError(f"{name} {default} is above max_{name} {ceiling}")
        self.machine_requirements()
        return self

    def machine_requirements(self) -> str | None:
        """The ClassAd expression that a machine must meet; None for any machine.

        Of `requires`, a text is compared as a whole and with its case: `bigmem` leads to machines
        whose attribute is `bigmem` or a list with it (`njs, bigmem`), never to `bigmemlong`. (EE2
        searched for the name anywhere in the attribute: `ee2-api` 5, defect D26.)
        """
        parts = [_comparison(name, value) for name, value in self.requires.items()]
        if self.requirements:
            parts.append(f"({self.requirements})" if parts else self.requirements)
        return " && ".join(parts) or None


def _comparison(name: str, value: Simple | list[Simple]) -> str:
    if not _ATTRIBUTE.fullmatch(name):
        raise ValueError(f"requires: '{name}' is not the name of a machine attribute")
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError(f"requires: {name} needs at least one value")
    parts = []
    for one in values:
        if isinstance(one, bool):
            parts.append(f"TARGET.{name} =?= {str(one).lower()}")
        elif isinstance(one, int):
            parts.append(f"TARGET.{name} == {one}")
        elif _VALUE.fullmatch(one):
            parts.append(f'stringListMember("{one}", TARGET.{name})')
        else:
            raise ValueError(f"requires: '{one}' is not a value that {name} can be compared with")
    return parts[0] if len(parts) == 1 else f"({' || '.join(parts)})"


class ClientGroups(BaseModel):
    """The file's content: the default group's name, the groups in display order, the routes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str
    groups: dict[Annotated[str, _matching(_NAME, "the name of a client group")], ClientGroup]
    routes: dict[Annotated[str, _matching(_NAME, "the name of a route")], Route] = Field(
        default_factory=dict
    )

    @property
    def problem(self) -> str | None:
        """As of a `GroupsFile`, which this can stand in for where groups never change."""
        return None


def read_groups(text: str, name: str) -> ClientGroups:
    """The content of a file of client groups. InvalidInput names the file (`name`), and for each
    thing that is wrong its line and place."""
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise InvalidInput(f"{name} is empty; it must have `default` and `groups`")
        wrong = [f"line {line}: {what}" for line, what in _repeated(node)]
        data = loader.construct_document(node) if not wrong else None
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None) or getattr(e, "context_mark", None)
        what = getattr(e, "problem", None) or str(e)
        where = f", line {mark.line + 1}" if mark else ""
        raise InvalidInput(f"{name}{where}: {what}") from None
    if data is not None:
        try:
            groups = ClientGroups.model_validate(data)
        except ValidationError as e:
            wrong = [_told(node, p["loc"], p["type"], p["msg"]) for p in e.errors()]
        else:
            wrong = [_told(node, loc, "", what) for loc, what in _unresolved(groups)]
            if not wrong:
                return groups
    raise InvalidInput(f"{name}, {'; '.join(wrong)}")


def _unresolved(groups: ClientGroups) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names in the file that lead nowhere: the place and a sentence."""
    known = ", ".join(groups.groups)
    if groups.default not in groups.groups:
        yield (
            ("default",),
            f"names the default group '{groups.default}', which is not among its groups: {known}",
        )
    if POOL_ROUTE in groups.routes:
        yield (
            ("routes", POOL_ROUTE),
            f"'{POOL_ROUTE}' is this engine's own pool; give the route another name",
        )
    routes = ", ".join([POOL_ROUTE, *groups.routes])
    for name, group in groups.groups.items():
        if group.route == POOL_ROUTE:
            continue
        route = groups.routes.get(group.route)
        if route is None:
            yield (
                ("groups", name, "route"),
                f"there is no route '{group.route}'; the routes are {routes}",
            )
        elif route.slurm is not None:
            for key in ("requires", "requirements"):
                if getattr(group, key):
                    yield (
                        ("groups", name, key),
                        "is about machines of HTCondor, and this group's jobs go to Slurm: "
                        "name a partition in the route instead",
                    )


_PLAINLY = {
    "extra_forbidden": "is not known here; see docs/how-to/client-groups.md",
    "missing": "is missing",
}


def _told(node: yaml.Node, loc: tuple[int | str, ...], kind: str, message: str) -> str:
    what = _PLAINLY.get(kind, message.removeprefix("Value error, "))
    line, place = _place(node, loc)
    return f"line {line}: {f'{place} ' if kind in _PLAINLY or not place else f'{place}: '}{what}"


def _place(node: yaml.Node, loc: tuple[int | str, ...]) -> tuple[int, str]:
    """The line of what a validation error is about, and its place in words. Pieces of `loc` that
    are not in the file (a missing key, the branch of a union) have their owner's line."""
    line = node.start_mark.line + 1
    words: list[str] = []
    for n, piece in enumerate(loc):
        found = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(piece):
                    found, line = value, key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(piece, int):
            found = node.value[piece] if piece < len(node.value) else None
            line = found.start_mark.line + 1 if found else line
        if found is None:
            if n == len(loc) - 1 and isinstance(node, yaml.MappingNode) and piece != "[key]":
                words.append(str(piece))
            break
        words.append(str(piece))
        node = found
    return line, ".".join(words)


def _repeated(root: yaml.Node) -> Iterator[tuple[int, str]]:
    """Keys that a mapping has twice: YAML would silently take the last."""
    nodes, known = [root], {id(root)}
    while nodes:
        node = nodes.pop(0)
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                inner.append(value)
                if not isinstance(key, yaml.ScalarNode):
                    continue
                line = key.start_mark.line + 1
                if key.value in lines and key.value != "<<":
                    yield line, f"'{key.value}' stands in line {lines[key.value]} already"
                lines[key.value] = line
        elif isinstance(node, yaml.SequenceNode):
            inner = list(node.value)
        nodes += [one for one in inner if id(one) not in known]
        known |= {id(one) for one in inner}


def load_client_groups(path: Path) -> ClientGroups:
    """Read and check the file of client groups; InvalidInput names file, line and place."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise InvalidInput(f"The file of client groups {path} cannot be read: {e}") from None
    return read_groups(text, f"The file of client groups {path}")


class GroupsFile:
    """The file of client groups as it stands now: each reading of `default`, `groups` or `routes`
    gives its newest content that is free of errors. Safe to use from several threads.

    Raises InvalidInput when made with a file that is not there or wrong.
    """

    def __init__(self, path: Path | str, look_s: float = LOOK_S) -> None:
        self.path = Path(path)
        self._look_s = look_s
        self._mark = self._stat()
        self._content = load_client_groups(self.path)
        self._problem: str | None = None
        self._loaded_at_s = time.time()
        self._looked = time.monotonic()
        self._busy = threading.Lock()

    @property
    def content(self) -> ClientGroups:
        """The whole of it, for those who need several parts that belong together."""
        if time.monotonic() - self._looked >= self._look_s and self._busy.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._busy.release()
        return self._content

    @property
    def default(self) -> str:
        """The name of the default group."""
        return self.content.default

    @property
    def groups(self) -> Mapping[str, ClientGroup]:
        """The groups by name, in display order."""
        return self.content.groups

    @property
    def routes(self) -> Mapping[str, Route]:
        """The routes by name, without this engine's own pool."""
        return self.content.routes

    @property
    def problem(self) -> str | None:
        """Why the file on disk is not what is in force; None if it is."""
        return self._problem if self.content else None

    @property
    def loaded_at_s(self) -> float:
        """When what is in force was read, s since the epoch."""
        return self._loaded_at_s

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _look(self) -> None:
        self._looked = time.monotonic()
        mark = self._stat()
        if mark == self._mark:
            return
        if mark is not None and 0 <= time.time() - mark[0] / 1e9 < SETTLED_S:
            return  # the next look comes soon
        self._mark = mark
        try:
            self._content = load_client_groups(self.path)
        except InvalidInput as e:
            self._problem = str(e)
            _log.error("%s. What was in force before stays in force.", e)
        else:
            self._problem, self._loaded_at_s = None, time.time()
            _log.info("The file of client groups %s has been read again", self.path)
