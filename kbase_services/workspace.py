"""KBase's Workspace: what a user may do in workspaces, and which objects the user can read."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from ee2_jobs.errors import Denied, EngineError, InvalidInput, NotAuthenticated, Unavailable
from ee2_jobs.identity import Caller, hash_token
from ee2_jobs.workspaces import DELETED, Narrative, NewObject, Permission
from kbase_services.cache import Cache
from kbase_services.http import Service, ServiceError

log = logging.getLogger(__name__)

# The Workspace's own limits for one call.
_WORKSPACES_PER_CALL = 1000
_OBJECTS_PER_CALL = 10_000
_CALLS_AT_ONCE = 8
# Saving may take its time, and is not to be given up while it goes on.
_SAVE_S = 60.0
# The code of its errors that the caller's token is to blame for.
_BAD_TOKEN = -32400
# Its text while its own database is away: says nothing of the workspaces that were asked for.
_TROUBLE = "problem communicating with the database"


class KBaseWorkspaces:
    """The port Workspaces by KBase's service, with the caller's own token.

    A permission is kept for KEEP_S, that there is none for KEEP_NONE_S, per token and workspace.
    A caller without a token (a browser's session) has no permission; nobody is asked.
    admin_token: with which objects are saved for users; none: they cannot be saved.
    """

    KEEP_S = 30.0
    KEEP_NONE_S = 5.0
    # What is shared with somebody, and what workspaces are called.
    KEEP_READABLE_S = 60.0
    KEEP_TITLE_S = 600.0
    # Nobody waits longer for titles; they are there the next time.
    TITLES_WITHIN_S = 1.5

    def __init__(
        self,
        service: Service,
        *,
        admin_token: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._admin_token = admin_token
        self._calls = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._cache: Cache[tuple[str, int], Permission] = Cache(
            lambda permission: self.KEEP_NONE_S if permission == "n" else self.KEEP_S,
            max_entries=100_000,
            clock=clock,
        )
        self._readable: Cache[str, frozenset[int]] = Cache(
            lambda _: self.KEEP_READABLE_S, max_entries=5_000, clock=clock
        )
        self._shared: Cache[str, dict[int, Narrative]] = Cache(
            lambda _: self.KEEP_READABLE_S, max_entries=500, clock=clock
        )
        self._titles: Cache[tuple[str, int], Narrative | None] = Cache(
            lambda told: self.KEEP_TITLE_S if told else self.KEEP_READABLE_S,
            max_entries=100_000,
            clock=clock,
        )

    async def permissions(self, caller: Caller, wsids: Iterable[int]) -> dict[int, Permission]:
        """See the port. One call for up to 1,000 workspaces."""
        wanted = list(dict.fromkeys(wsids))
        token = caller.token
        if token is None:
            return dict.fromkeys(wanted, "n")

        async def ask(keys: list[tuple[str, int]]) -> Mapping[tuple[str, int], Permission]:
            ids = [wsid for _, wsid in keys]
            parts = [
                ids[start : start + _WORKSPACES_PER_CALL]
                for start in range(0, len(ids), _WORKSPACES_PER_CALL)
            ]
            answers = await asyncio.gather(*(self._ask(caller.user, token, p) for p in parts))
            return {(key, wsid): p for part in answers for wsid, p in part.items()}

        key = hash_token(token)
        found = await self._cache.get_many([(key, wsid) for wsid in wanted], ask)
        return {wsid: permission for (_, wsid), permission in found.items()}

    async def _ask(
        self, user: str, token: str, wsids: Sequence[int]
    ) -> dict[int, Permission]:
        """The permissions, asked for at once. One workspace that is deleted or unknown makes the
        service refuse all: then they are asked for in halves, down to that one, which is `n`."""
        try:
            async with self._calls:
                answer = await self._read(
                    "get_permissions_mass", {"workspaces": [{"id": wsid} for wsid in wsids]}, token
                )
        except ServiceError as e:
            if len(wsids) == 1:
                log.info("no permission in workspace %s: %s", wsids[0], e.message)
                return {wsids[0]: "n"}
            middle = len(wsids) // 2
            halves = await asyncio.gather(
                self._ask(user, token, wsids[:middle]), self._ask(user, token, wsids[middle:])
            )
            return halves[0] | halves[1]
        perms = answer.get("perms") if isinstance(answer, dict) else None
        if not isinstance(perms, list) or len(perms) != len(wsids):
            raise self._no_sense("get_permissions_mass")
        return {wsid: _permission(user, given) for wsid, given in zip(wsids, perms, strict=True)}

    async def readable(self, caller: Caller) -> frozenset[int]:
        """See the port. One call, kept for KEEP_READABLE_S."""
        token = caller.token
        if token is None:
            return frozenset()

        async def ask() -> frozenset[int]:
            answer = await self._told("list_workspace_ids", {"excludeGlobal": 1}, token)
            ids = answer.get("workspaces") if isinstance(answer, dict) else None
            if not isinstance(ids, list):
                raise self._no_sense("list_workspace_ids")
            return frozenset(int(wsid) for wsid in ids)

        return await self._readable.get(hash_token(token), ask)

    async def narratives(self, caller: Caller, wsids: Iterable[int]) -> dict[int, Narrative]:
        """See the port. One call per workspace that is not known yet."""
        token = caller.token
        if token is None:
            return {}

        async def name(wsid: int) -> Narrative | None:
            try:
                async with self._calls:
                    return _narrative(
                        await self._read("get_workspace_info", {"id": wsid}, token)
                    )[1]
            except ServiceError as e:  # deleted, or not for this caller
                return DELETED if e.message.endswith("is deleted") else None
            except (TypeError, IndexError, ValueError):
                raise self._no_sense("get_workspace_info") from None

        key = hash_token(token)
        wanted = list(dict.fromkeys(wsids))
        asked = {
            wsid: asyncio.ensure_future(self._titles.get((key, wsid), partial(name, wsid)))
            for wsid in wanted
        }
        if asked:
            await asyncio.wait(asked.values(), timeout=self.TITLES_WITHIN_S)
        found = {}
        for wsid, task in asked.items():
            task.add_done_callback(_noticed)
            if task.done() and task.exception() is None and (told := task.result()):
                found[wsid] = told
        return found

    async def titled(self, caller: Caller, text: str) -> list[int]:
        """See the port. One call for all titles, kept for KEEP_READABLE_S."""
        token = caller.token
        if token is None:
            return []

        async def ask() -> dict[int, Narrative]:
            infos = await self._told("list_workspace_info", {"excludeGlobal": 1}, token)
            try:
                return dict(_narrative(info) for info in infos)
            except (TypeError, IndexError, ValueError):
                raise self._no_sense("list_workspace_info") from None

        shared = await self._shared.get(hash_token(token), ask)
        sought = text.casefold()
        return [wsid for wsid, told in shared.items() if sought in (told.title or "").casefold()]

    async def _told(self, method: str, params: Mapping[str, Any], token: str) -> Any:
        """A reading call about the caller's own workspaces: there is nothing to be refused."""
        try:
            return await self._read(method, params, token)
        except ServiceError as e:
            raise Unavailable(
                f"KBase's Workspace service does not tell which workspaces there are: {e.message}"
            ) from e

    async def inaccessible(self, caller: Caller, refs: Iterable[str]) -> list[str]:
        """See the port. One call for up to 10,000 references."""
        return [ref for ref, found in (await self.resolve(caller, refs)).items() if found is None]

    async def resolve(self, caller: Caller, refs: Iterable[str]) -> dict[str, str | None]:
        """See the port. One call for up to 10,000 references."""
        wanted = list(dict.fromkeys(refs))
        found: dict[str, str | None] = dict.fromkeys(wanted)
        if caller.token is None:
            return found
        for start in range(0, len(wanted), _OBJECTS_PER_CALL):
            part = wanted[start : start + _OBJECTS_PER_CALL]
            params = {"objects": [{"ref": ref} for ref in part], "ignoreErrors": 1}
            try:
                answer = await self._read("get_object_info3", params, caller.token)
            except ServiceError as e:
                raise InvalidInput(f"The workspace objects cannot be looked up: {e.message}") from e
            paths = answer.get("paths") if isinstance(answer, dict) else None
            if not isinstance(paths, list) or len(paths) != len(part):
                raise self._no_sense("get_object_info3")
            # A path leads from the object that was named to the one that is meant.
            found |= {ref: path[-1] for ref, path in zip(part, paths, strict=True) if path}
        return found

    async def save_object(self, user: str, wsid: int, new: NewObject) -> str:
        """See the port. Saved with the engine's administrator token in the user's name, because no
        token of the user's is kept."""
        if not self._admin_token:
            raise EngineError(
                "Objects cannot be saved in KBase's Workspace: the setting workspace_admin_token "
                "of [ee2] is empty. It takes the token of a Workspace administrator"
            )
        what = {"name": new.name, "type": new.type, "data": new.data, "meta": new.meta}
        command = {
            "command": "saveObjects",
            "user": user,
            "params": {"id": wsid, "objects": [what]},
        }
        try:
            saved = await self._service.call(
                "Workspace.administer",
                command,
                token=self._admin_token,
                read=False,
                read_s=_SAVE_S,
            )
        except ServiceError as e:
            if e.code == _BAD_TOKEN:
                raise EngineError(
                    "KBase's Workspace does not take the token in the setting "
                    f"workspace_admin_token of [ee2]: {e.message}"
                ) from e
            if _TROUBLE in e.message:
                raise self._trouble() from e
            if f"User {user} may not" in e.message or _is_gone(e.message):
                raise Denied(f"User {user} may not write workspace {wsid}: {e.message}") from e
            raise InvalidInput(f"'{new.name}' cannot be saved: {e.message}") from e
        try:
            info = saved[0]
            return f"{info[6]}/{info[0]}/{info[4]}"
        except (TypeError, IndexError, KeyError):
            raise self._no_sense("administer") from None

    async def _read(self, method: str, params: Mapping[str, Any], token: str) -> Any:
        """A reading call; ServiceError only for what was asked, not for token or trouble."""
        try:
            return await self._service.call(f"Workspace.{method}", params, token=token)
        except ServiceError as e:
            if e.code == _BAD_TOKEN:
                raise NotAuthenticated(f"Token validation failed: {e.message}") from e
            if _TROUBLE in e.message:
                raise self._trouble() from e
            raise

    def _trouble(self) -> Unavailable:
        return Unavailable(
            "KBase's Workspace service cannot reach its database at the moment. "
            "Please try again in a few seconds."
        )

    def _no_sense(self, method: str) -> Unavailable:
        log.error("the Workspace's answer to %s has another form than expected", method)
        return Unavailable(
            "KBase's Workspace service gives answers that cannot be read at the moment. "
            "Please try again in a few minutes."
        )


def _permission(user: str, given: Mapping[str, str]) -> Permission:
    """A user's permission from what the service tells of one workspace: the user's own, else what
    everybody has."""
    own = given.get(user, "n")
    if own in ("r", "w", "a"):
        return cast(Permission, own)
    return "r" if given.get("*") == "r" else "n"


def _narrative(info: Any) -> tuple[int, Narrative]:
    """A workspace's number and what it is called, from the service's tuple `workspace_info`; a
    narrative's title is in its metadata."""
    title = (info[8] or {}).get("narrative_nice_name")
    return int(info[0]), Narrative(str(title) if title else None, str(info[2]))


def _noticed(task: asyncio.Future[Any]) -> None:
    """A title that could not be told is no reason for a complaint."""
    if not task.cancelled():
        task.exception()


def _is_gone(message: str) -> bool:
    return message.startswith("No workspace with") or message.endswith("is deleted")
