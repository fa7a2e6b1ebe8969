"""Workspaces (narratives) and who may read and write them: the port and the local one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from ee2_jobs.errors import InvalidInput, NotFound
from ee2_jobs.model import now_s
from ee2_jobs.store import Store

Permission = Literal["n", "r", "w", "a"]


class Workspaces(Protocol):
    """The port: what a user may do in workspaces. KBase's is the Workspace service."""

    async def permissions(self, user: str, wsids: Iterable[int]) -> dict[int, Permission]:
        """The user's permission per workspace, in one look-up; `n` for none, unknown or deleted.
        A globally readable workspace gives at least `r`."""
        ...

    async def inaccessible(self, user: str, refs: Iterable[str]) -> list[str]:
        """Those of the object references (`ws/object/version`) that the user cannot read."""
        ...


class LocalWorkspaces:
    """Workspaces of the embedded default: documents {_id, name, owner, acl, public}."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def permissions(self, user: str, wsids: Iterable[int]) -> dict[int, Permission]:
        """See the port."""
        wanted = list(set(wsids))
        found: dict[int, Permission] = dict.fromkeys(wanted, "n")
        async for ws in self._store.workspaces.find({"_id": {"$in": wanted}}):
            if ws.get("deleted"):
                continue
            if ws["owner"] == user:
                found[ws["_id"]] = "a"
            else:
                found[ws["_id"]] = ws["acl"].get(user, "r" if ws["public"] else "n")
        return found

    async def inaccessible(self, user: str, refs: Iterable[str]) -> list[str]:
        """The local workspaces hold no objects: a reference is readable if its workspace is."""
        wanted = list(refs)
        if not wanted:
            return []
        rights = await self.permissions(user, [int(ref.split("/")[0]) for ref in wanted])
        return [ref for ref in wanted if rights[int(ref.split("/")[0])] == "n"]


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
    done = await store.workspaces.update_one({"_id": wsid}, {"$set": {f"acl.{user}": permission}})
    if not done.matched_count:
        raise NotFound(f"There is no workspace {wsid}")
