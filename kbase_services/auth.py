"""KBase's Auth2: whose token it is, which roles that user has, which user names there are."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus

import httpx

from ee2_jobs.errors import Denied, InvalidInput, NotAuthenticated
from ee2_jobs.identity import (
    INVALID_TOKEN,
    NO_TOKEN,
    ROLE_ADMIN,
    ROLE_ADMIN_READ,
    Caller,
    hash_token,
    job_caller,
)
from ee2_jobs.store import Store
from kbase_services.cache import Cache
from kbase_services.http import Service

# Auth2's rule; a name against it would make the whole look-up fail.
_USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
_NAMES_PER_CALL = 50


class Auth2Identity:
    """The port Identity by KBase's Auth2; jobs' own tokens are ours and never go there.

    What is kept is keyed by the token's hash and holds no token: whose it is for KEEP_S (that is
    how long a revoked one still works), that it is nobody's for KEEP_BAD_S.
    admin_role, admin_read_role: the custom roles in Auth2 that make an administrator.
    """

    KEEP_S = 45.0
    KEEP_BAD_S = 5.0

    def __init__(
        self,
        service: Service,
        store: Store,
        secret_key: str,
        *,
        admin_role: str,
        admin_read_role: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = service
        self._store = store
        self._secret_key = secret_key
        self._roles = {admin_role: ROLE_ADMIN, admin_read_role: ROLE_ADMIN_READ}
        # An answer is the caller (without token), or the text why there is none.
        self._cache: Cache[str, Caller | str] = Cache(
            lambda found: self.KEEP_S if isinstance(found, Caller) else self.KEEP_BAD_S,
            clock=clock,
        )

    async def caller(self, token: str) -> Caller:
        """See the port. The caller carries the token, unless it is a job's."""
        if not token:
            raise NotAuthenticated(NO_TOKEN)
        if not (token.isascii() and token.isprintable()):
            raise NotAuthenticated(INVALID_TOKEN)  # it could not even be sent
        found = await self._cache.get(hash_token(token), lambda: self._look_up(token))
        if isinstance(found, str):
            raise NotAuthenticated(found)
        return found if found.job else Caller(found.user, found.roles, token=token)

    async def _look_up(self, token: str) -> Caller | str:
        job = await job_caller(self._store, self._secret_key, token)
        if job is not None:
            return job
        # One call instead of EE2's two: it has the user beside the roles.
        answer = await self._service.get("/api/V2/me", token=token)
        refusal = self._refusal(answer)
        if refusal is not None:
            return refusal
        me = self._service.json(answer)
        user, roles = me.get("user"), me.get("customroles", [])
        if not isinstance(user, str) or not isinstance(roles, list):
            raise self._service.unreadable(answer)
        ours = (self._roles[role] for role in roles if role in self._roles)
        return Caller(user, frozenset(ours))

    def _refusal(self, answer: httpx.Response) -> str | None:
        """EE2's text if Auth2 refuses the token (unknown, expired, the user is disabled); None if
        it was taken. Unavailable for what is no answer of Auth2's."""
        if answer.status_code == 200:
            return None
        error = self._service.json(answer).get("error")
        if answer.status_code not in (400, 401, 403) or not isinstance(error, dict):
            raise self._service.unreadable(answer)
        reason = HTTPStatus(answer.status_code).phrase
        return (
            f"Token validation failed: Error connecting to auth service: {answer.status_code} "
            f"{reason}\n{error.get('message')}"
        )

    async def unknown_users(self, caller: Caller, names: Sequence[str]) -> list[str]:
        """See the port. Asked with the caller's token."""
        if caller.token is None:
            raise Denied("User names can be looked up only with a token of KBase")
        possible = sorted({name for name in names if _USER_NAME.fullmatch(name)})
        known: set[str] = set()
        for start in range(0, len(possible), _NAMES_PER_CALL):
            part = ",".join(possible[start : start + _NAMES_PER_CALL])
            answer = await self._service.get(
                "/api/V2/users/", token=caller.token, params={"list": part}
            )
            refusal = self._refusal(answer)
            if refusal is not None:
                if answer.status_code == 400:
                    raise InvalidInput(f"These user names cannot be looked up: {part}")
                raise NotAuthenticated(refusal)
            known.update(self._service.json(answer))
        return [name for name in names if name not in known]
