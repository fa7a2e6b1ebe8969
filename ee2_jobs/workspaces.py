"""Workspaces (narratives) and who may read and write them: the port and the local one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pymongo import ReturnDocument

from ee2_jobs.errors import Denied, InvalidInput, NotFound
from ee2_jobs.identity import Caller
from ee2_jobs.model import now_s
from ee2_jobs.store import Store

Permission = Literal["n", "r", "w", "a"]


@dataclass(frozen=True)
class NewObject:
    """An object to be saved: `type` is `Module.Type`, `data` its JSON value."""

    name: str
    type: str
    data: Any
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Narrative:
    """What people call a workspace. title: None if it has none. Of a deleted one the rest is not
    told."""

    title: str | None
    owner: str | None
    deleted: bool = False


DELETED = Narrative(None, None, deleted=True)


class Workspaces(Protocol):
    """The port: what a user may do in workspaces. KBase's is the Workspace service."""

    async def permissions(self, caller: Caller, wsids: Iterable[int]) -> dict[int, Permission]:
        """The caller's permission per workspace, in one look-up; `n` for none, unknown or deleted.
        A globally readable workspace gives at least `r`."""
        ...

    async def inaccessible(self, caller: Caller, refs: Iterable[str]) -> list[str]:
        """Those of the object references (`ws/object/version`) that the caller cannot read."""
        ...

    async def resolve(self, caller: Caller, refs: Iterable[str]) -> dict[str, str | None]:
        """References as clients write them, `workspace/object` with or without `/version`, each of
        the two a number or a name, by the reference in numbers; None for what the caller cannot
        read, or is not there."""
        ...

    async def readable(self, caller: Caller) -> frozenset[int]:
        """The workspaces that are the caller's or shared with the caller; not those that only
        everybody may read. May be up to a minute old."""
        ...

    async def narratives(self, caller: Caller, wsids: Iterable[int]) -> dict[int, Narrative]:
        """What those of the workspaces are called that the caller may read, or might if they were
        not deleted. For showing only: what cannot be told soon is left out, and may be some minutes
        old."""
        ...

    async def titled(self, caller: Caller, text: str) -> list[int]:
        """Those of `readable` whose title contains the text, in capitals or not."""
        ...

    async def save_object(self, user: str, wsid: int, new: NewObject) -> str:
        """Save an object for a user, a new version if the name is taken; its reference
        `ws/object/version`. Denied unless the user may write the workspace."""
        ...


def _permission(ws: Mapping[str, Any], user: str) -> Permission:
    """A user's permission in a local workspace; in a deleted one, what it would be."""
    if ws["owner"] == user:
        return "a"
    given: Permission = ws["acl"].get(user, "r" if ws["public"] else "n")
    return given


class LocalWorkspaces:
    """Workspaces of the embedded default: documents {_id, name, owner, acl, public}."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def permissions(self, caller: Caller, wsids: Iterable[int]) -> dict[int, Permission]:
        """See the port."""
        user = caller.user
        wanted = list(set(wsids))
        found: dict[int, Permission] = dict.fromkeys(wanted, "n")
        async for ws in self._store.workspaces.find({"_id": {"$in": wanted}}):
            if not ws.get("deleted"):
                found[ws["_id"]] = _permission(ws, user)
        return found

    async def _of(self, caller: Caller) -> list[dict[str, Any]]:
        user = caller.user
        mine: list[dict[str, Any]] = [{"owner": user}]
        if "." not in user and not user.startswith("$"):
            mine.append({f"acl.{user}": {"$exists": True}})
        found = self._store.workspaces.find(
            {"$or": mine, "deleted": {"$ne": True}}, {"name": 1, "owner": 1, "acl": 1}
        )
        return [
            ws async for ws in found if ws["owner"] == user or ws["acl"].get(user, "n") != "n"
        ]

    async def readable(self, caller: Caller) -> frozenset[int]:
        """See the port. Always as it is now."""
        return frozenset(ws["_id"] for ws in await self._of(caller))

    async def narratives(self, caller: Caller, wsids: Iterable[int]) -> dict[int, Narrative]:
        """See the port. A local workspace's title is its name."""
        found = self._store.workspaces.find({"_id": {"$in": list(set(wsids))}}, {"counters": 0})
        return {
            ws["_id"]: DELETED if ws.get("deleted") else Narrative(ws["name"], ws["owner"])
            async for ws in found
            if _permission(ws, caller.user) != "n"
        }

    async def titled(self, caller: Caller, text: str) -> list[int]:
        """See the port."""
        sought = text.casefold()
        return [ws["_id"] for ws in await self._of(caller) if sought in ws["name"].casefold()]

    async def inaccessible(self, caller: Caller, refs: Iterable[str]) -> list[str]:
        """The local workspaces hold no objects of others' making: a reference is readable if its
        workspace is."""
        wanted = list(refs)
        if not wanted:
            return []
        rights = await self.permissions(caller, [int(ref.split("/")[0]) for ref in wanted])
        return [ref for ref in wanted if rights[int(ref.split("/")[0])] == "n"]

    async def resolve(self, caller: Caller, refs: Iterable[str]) -> dict[str, str | None]:
        """See the port. Of an object in numbers that was not saved here only the workspace is
        looked at, and a missing version stays missing."""
        found: dict[str, str | None] = {}
        for ref in dict.fromkeys(refs):
            workspace, item, *version = ref.split("/")
            query: dict[str, Any] = {"name": workspace}
            if workspace.isdigit():
                query = {"_id": int(workspace)}
            ws = await self._store.workspaces.find_one({**query, "deleted": None}, {"_id": 1})
            if ws is None or (await self.permissions(caller, [ws["_id"]]))[ws["_id"]] == "n":
                found[ref] = None
                continue
            query = {"wsid": ws["_id"], "name": item}
            if item.isdigit():
                query = {"wsid": ws["_id"], "object": int(item)}
            if version:
                query["version"] = int(version[0])
            saved = await self._store.objects.find_one(query, {"_id": 1}, sort=[("version", -1)])
            if saved is not None:
                found[ref] = str(saved["_id"])
            else:
                known = item.isdigit()
                found[ref] = "/".join([str(ws["_id"]), item, *version]) if known else None
        return found

    async def save_object(self, user: str, wsid: int, new: NewObject) -> str:
        """See the port. Documents {_id: ref, wsid, object, version, name, type, data, meta, user}
        in `ee2_objects`."""
        if (await self.permissions(Caller(user), [wsid]))[wsid] not in ("w", "a"):
            raise Denied(f"User {user} may not write workspace {wsid}")
        known = await self._store.objects.find_one(
            {"wsid": wsid, "name": new.name}, {"object": 1}, sort=[("version", -1)]
        )
        number = known["object"] if known else await self._count(wsid, "objects")
        version = await self._count(wsid, f"versions.{number}")
        ref = f"{wsid}/{number}/{version}"
        await self._store.objects.insert_one(
            {
                "_id": ref, "wsid": wsid, "object": number, "version": version, "user": user,
                "name": new.name, "type": new.type, "data": new.data, "meta": new.meta,
                "saved": now_s(),
            }
        )
        return ref

    async def _count(self, wsid: int, counter: str) -> int:
        """The next number of a counter of the workspace."""
        ws = await self._store.workspaces.find_one_and_update(
            {"_id": wsid},
            {"$inc": {f"counters.{counter}": 1}},
            return_document=ReturnDocument.AFTER,
        )
        value: Any = (ws or {})["counters"]
        for part in counter.split("."):
            value = value[part]
        return int(value)


async def create_workspace(
    store: Store, wsid: int, owner: str, name: str = "", public: bool = False
) -> None:
    """Add a workspace; InvalidInput if the id is taken or not a positive number."""
    if wsid < 1:
        raise InvalidInput("A workspace id is a number from 1 on")
    done = await store.workspaces.update_one(
        {"_id": wsid},
        {
            "$setOnInsert": {
                "name": name or f"{owner}:narrative_{wsid}",
                "owner": owner,
                "acl": {},
                "public": public,
                "created": now_s(),
            }
        },
        upsert=True,
    )
    if done.upserted_id is None:
        raise InvalidInput(f"There is a workspace {wsid} already")


async def share_workspace(store: Store, wsid: int, user: str, permission: Permission) -> None:
    """Give a user a permission in a workspace (`n` takes it away); NotFound without workspace."""
    done = await store.workspaces.update_one(
        {"_id": wsid, "deleted": {"$ne": True}}, {"$set": {f"acl.{user}": permission}}
    )
    if not done.matched_count:
        raise NotFound(f"There is no workspace {wsid}")


@dataclass(frozen=True)
class Workspace:
    """A local workspace. acl: the permission per user, besides the owner's."""

    id: int
    name: str
    owner: str
    acl: dict[str, str]
    public: bool


async def list_workspaces(store: Store) -> list[Workspace]:
    """The local workspaces that are not deleted, by id."""
    found = store.workspaces.find({"deleted": {"$ne": True}}).sort("_id", 1)
    return [
        Workspace(ws["_id"], ws["name"], ws["owner"], ws["acl"], ws["public"])
        async for ws in found
    ]


async def remove_workspace(store: Store, wsid: int) -> None:
    """Mark a workspace deleted: nobody has a right in it then, and its id is not used again. Jobs
    and objects stay; a job's owner still sees it. NotFound without such a workspace."""
    done = await store.workspaces.update_one(
        {"_id": wsid, "deleted": {"$ne": True}}, {"$set": {"deleted": True, "deleted_s": now_s()}}
    )
    if not done.matched_count:
        raise NotFound(f"There is no workspace {wsid}")
