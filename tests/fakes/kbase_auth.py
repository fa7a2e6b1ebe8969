"""A stand-in for KBase's Auth2: who a token belongs to, roles, user names."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fakes.kbase_server import KBaseServer


@dataclass
class AuthUser:
    name: str
    roles: list[str]
    disabled: bool = False


class FakeAuth(KBaseServer):
    """users by name; tokens: which user's each is (take one out to revoke it)."""

    path = "/services/auth"

    def __init__(self) -> None:
        self.users: dict[str, AuthUser] = {}
        self.tokens: dict[str, str] = {}
        super().__init__()

    def add_user(self, name: str, *roles: str) -> str:
        """A new user, or other roles; a token."""
        self.users[name] = AuthUser(name, list(roles))
        token = f"{name.upper()}{len(self.tokens):04d}TOKEN"
        self.tokens[token] = name
        return token

    async def answer(self, request: Request) -> Response:
        path = request.url.path.removeprefix(self.path)
        self.calls[path] += 1
        if path == "/api/legacy/KBase/Sessions/Login" and request.method == "POST":
            form = dict(part.split("=", 1) for part in (await request.body()).decode().split("&"))
            user = self._user(form.get("token"))
            if isinstance(user, Response):
                return user
            return JSONResponse({"user_id": user.name})
        user = self._user(request.headers.get("authorization"))
        if isinstance(user, Response):
            return user
        if path == "/api/V2/me":
            return JSONResponse(
                {
                    "user": user.name, "display": user.name.title(), "local": False,
                    "email": f"{user.name}@example.org", "anonid": "00000000-0000", "created": 1,
                    "lastlogin": 2, "customroles": user.roles, "idents": [], "policyids": [],
                    "roles": [{"id": "DevToken", "desc": "Create developer tokens"}],
                }
            )
        if path == "/api/V2/token":
            return JSONResponse(
                {
                    "type": "Login", "id": "1", "name": None, "user": user.name, "custom": {},
                    "created": 1, "expires": int(time.time() * 1000) + 86_400_000,
                    "cachefor": 300_000,
                }
            )
        if path == "/api/V2/users/":
            return self._users(request.query_params.get("list", ""))
        return _error(404, "Not Found", None, "HTTP 404 Not Found")

    def _users(self, wanted: str) -> Response:
        names = [name.strip() for name in wanted.split(",") if name]
        for name in names:
            if not re.fullmatch("[a-z][a-z0-9_]*", name):
                return _error(
                    400, "Bad Request", (30010, "Illegal user name"),
                    f"30010 Illegal user name: Illegal user name [{name}]: 30010 Illegal user name",
                )
        return JSONResponse({name: name.title() for name in names if name in self.users})

    def _user(self, token: str | None) -> AuthUser | Response:
        if not token:
            return _error(
                400, "Bad Request", (10010, "No authentication token"),
                "10010 No authentication token: No user token provided",
            )
        user = self.users.get(self.tokens.get(token, ""))
        if user is None:
            return _error(
                401, "Unauthorized", (10020, "Invalid token"), "10020 Invalid token"
            )
        if user.disabled:
            return _error(
                403, "Forbidden", (20010, "Account disabled"),
                "20010 Account disabled: This account is disabled",
            )
        return user


def _error(status: int, reason: str, app: tuple[int, str] | None, message: str) -> Response:
    error = {
        "httpcode": status, "httpstatus": reason, "message": message, "callid": "0123456789",
        "time": int(time.time() * 1000),
    }
    if app is not None:
        error |= {"appcode": app[0], "apperror": app[1]}
    return JSONResponse({"error": error}, status)
