"""A stand-in for KBase's Workspace: permissions, objects, and saving them for users."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.kbase_server import KBaseRpcServer, RpcFault

ADMIN_TOKEN = "WORKSPACEADMINTOKEN"


@dataclass
class FakeSpace:
    """acl: permission per user, the owner's `a` among them. objects: versions per object."""

    acl: dict[str, str]
    public: bool = False
    deleted: bool = False
    objects: list[list[Any]] = field(default_factory=list)
    name: str = ""
    title: str = ""


class FakeWorkspace(KBaseRpcServer):
    """tokens: whose each is, as in the stand-in for Auth2. spaces by id."""

    path = "/services/ws"

    def __init__(self, tokens: dict[str, str]) -> None:
        self.tokens = tokens
        self.spaces: dict[int, FakeSpace] = {}
        self.database_away = False
        super().__init__()

    def methods(self) -> dict[str, Callable[[Any, str | None], Any]]:
        return {
            "Workspace.get_permissions_mass": self._permissions,
            "Workspace.get_object_info3": self._info,
            "Workspace.administer": self._administer,
            "Workspace.list_workspace_ids": self._ids,
            "Workspace.list_workspace_info": self._list,
            "Workspace.get_workspace_info": self._about,
        }

    def _user(self, token: str | None) -> str | None:
        """Calls without a token are an anonymous user's."""
        if token is None:
            return None
        if token not in self.tokens:
            raise RpcFault(
                -32400, "JSONRPCError",
                "Token validation failed: Auth service returned an error: 10020 Invalid token",
            )
        return self.tokens[token]

    def _space(self, wsid: int) -> FakeSpace:
        if self.database_away:
            raise _fault("There was a problem communicating with the database")
        space = self.spaces.get(wsid)
        if space is None:
            raise _fault(f"No workspace with id {wsid} exists")
        if space.deleted:
            raise _fault(f"Workspace {wsid} is deleted")
        return space

    def _permissions(self, params: Any, token: str | None) -> Any:
        user = self._user(token)
        asked = params["workspaces"]
        if len(asked) > 1000:
            raise _fault("Maximum number of workspaces allowed for input is 1000")
        perms = []
        for identity in asked:
            space = self._space(identity["id"])
            own = space.acl.get(user or "", "n")
            perms.append(
                {
                    **({user: own} if user else {}),
                    **({"*": "r"} if space.public and own == "n" else {}),
                }
            )
        return {"perms": perms}

    def _shared(self, params: Any, token: str | None) -> dict[int, FakeSpace]:
        user = self._user(token)
        if self.database_away:
            raise _fault("There was a problem communicating with the database")
        assert params["excludeGlobal"] == 1
        return {
            wsid: space for wsid, space in self.spaces.items()
            if not space.deleted and space.acl.get(user or "", "n") != "n"
        }

    def _ids(self, params: Any, token: str | None) -> Any:
        return {"workspaces": sorted(self._shared(params, token)), "pub": []}

    def _list(self, params: Any, token: str | None) -> Any:
        user = self._user(token) or ""
        return [_about(wsid, s, user) for wsid, s in self._shared(params, token).items()]

    def _about(self, params: Any, token: str | None) -> Any:
        user = self._user(token) or ""
        space = self._space(params["id"])
        if space.acl.get(user, "n") == "n" and not space.public:
            raise _fault(f"User {user} may not read workspace {params['id']}")
        return _about(params["id"], space, user)

    def _info(self, params: Any, token: str | None) -> Any:
        user = self._user(token)
        assert params["ignoreErrors"] == 1
        if len(params["objects"]) > 10_000:
            raise _fault("No more than 10000 objects may be specified")
        infos, paths = [], []
        for number, one in enumerate(params["objects"], 1):
            parts = one["ref"].split("/")
            if len(parts) not in (2, 3) or not all(parts):
                raise _fault(
                    f"Error on ObjectSpecification #{number}: Illegal number of separators / in "
                    f"object reference {one['ref']}"
                )
            by_name = {s.name: wsid for wsid, s in self.spaces.items() if s.name}
            wsid = int(parts[0]) if parts[0].isdigit() else by_name.get(parts[0], 0)
            space = self.spaces.get(wsid)
            seen = space is not None and not space.deleted and (
                space.public or space.acl.get(user or "", "n") != "n"
            )
            objects = space.objects if seen and space is not None else []
            names = [versions[0]["name"] for versions in objects]
            number_of = int(parts[1]) if parts[1].isdigit() else 0
            if parts[1] in names:
                number_of = names.index(parts[1]) + 1
            there = 0 < number_of <= len(objects)
            version = len(objects[number_of - 1]) if there else 0
            if len(parts) == 3:
                version = int(parts[2])
            infos.append([number_of, "x", "M.T-1.0"] if there else None)
            paths.append([f"{wsid}/{number_of}/{version}"] if there else None)
        return {"infos": infos, "paths": paths}

    def _administer(self, command: Any, token: str | None) -> Any:
        if token != ADMIN_TOKEN:
            user = self._user(token)
            raise _fault(f"User {user} is not an admin")
        assert command["command"] == "saveObjects", command
        user, params = command["user"], command["params"]
        space = self._space(params["id"])
        if space.acl.get(user, "n") not in ("w", "a"):
            raise _fault(f"User {user} may not write to workspace {params['id']}")
        return [self._save(space, user, params["id"], one) for one in params["objects"]]

    def _save(self, space: FakeSpace, user: str, wsid: int, one: Any) -> list[Any]:
        if "." not in one["type"]:
            raise _fault(f"Error on ObjectSaveData #1: Type {one['type']} could not be split")
        names = [versions[0]["name"] for versions in space.objects]
        if one["name"] not in names:
            names.append(one["name"])
            space.objects.append([])
        index = names.index(one["name"])
        space.objects[index].append(one)
        return [
            index + 1, one["name"], f"{one['type']}-1.0", "2026-01-01T00:00:00+0000",
            len(space.objects[index]), user, wsid, "ws", "md5", 2, one["meta"],
        ]


def _about(wsid: int, space: FakeSpace, user: str) -> list[Any]:
    """The tuple `workspace_info`."""
    owner = next((u for u, permission in space.acl.items() if permission == "a"), "")
    metadata = {"narrative": "1", "narrative_nice_name": space.title} if space.title else {}
    return [
        wsid, space.name or f"{owner}:narrative_{wsid}", owner, "2026-01-01T00:00:00+0000",
        len(space.objects), space.acl.get(user, "n"), "r" if space.public else "n", "unlocked",
        metadata,
    ]


def _fault(message: str) -> RpcFault:
    return RpcFault(-32500, "JSONRPCError", message)
