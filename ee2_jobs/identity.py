"""Who asks: users, tokens, and the tokens of jobs.

Local identity keeps users and tokens in MongoDB, tokens as SHA-256 hashes only. A job has a token
of its own: signed, not stored, good for this job and the runner's methods, until the job has ended.
The user's token never goes to a node.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bson import ObjectId

from ee2_jobs.errors import InvalidInput, NotAuthenticated, NotFound
from ee2_jobs.model import now_s
from ee2_jobs.store import Store

JOB_TOKEN_PREFIX = "ee2job"
ROLE_ADMIN = "admin"
ROLE_ADMIN_READ = "admin_read"
# EE2's texts.
NO_TOKEN = "Token validation failed: Must supply token"
INVALID_TOKEN = (
    "Token validation failed: Error connecting to auth service: 401 Unauthorized\n"
    "10020 Invalid token"
)
# How much of a token's hash names it to people.
TOKEN_ID = 12
_USER_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Caller:
    """Who makes a call: a user, or (job is set) one job's runner acting for that job only.

    token: the user's, for asking services that decide by it; None where there is none (a signed-in
    browser, the local identity). It stands in no log and no record.
    """

    user: str
    roles: frozenset[str] = field(default_factory=frozenset)
    job: str | None = None
    token: str | None = field(default=None, repr=False, compare=False)

    @property
    def can_admin(self) -> bool:
        """May change what belongs to others (EE2's ADMIN-W)."""
        return ROLE_ADMIN in self.roles

    @property
    def can_admin_read(self) -> bool:
        """May read what belongs to others (EE2's ADMIN-R)."""
        return bool(self.roles & {ROLE_ADMIN, ROLE_ADMIN_READ})


@dataclass(frozen=True)
class User:
    """A user of the embedded default."""

    name: str
    display_name: str
    roles: tuple[str, ...]


class Identity(Protocol):
    """The port: from a token to the caller. KBase's is Auth2, ours is LocalIdentity."""

    async def caller(self, token: str) -> Caller:
        """Who holds this token; NotAuthenticated if nobody does."""
        ...

    async def unknown_users(self, caller: Caller, names: Sequence[str]) -> list[str]:
        """Those of the names that no user has, in the order given. caller: who wants to know."""
        ...


def hash_token(token: str) -> str:
    """What is stored of a token, and what caches are keyed by."""
    return hashlib.sha256(token.encode()).hexdigest()


def job_token(secret_key: str, job_id: str) -> str:
    """The token of one job. It is derived, so that a stage of 10,000 jobs stores nothing."""
    return f"{JOB_TOKEN_PREFIX}.{job_id}.{_sign(secret_key, job_id)}"


def _sign(secret_key: str, job_id: str) -> str:
    return hmac.new(secret_key.encode(), f"job:{job_id}".encode(), hashlib.sha256).hexdigest()


def job_of_token(secret_key: str, token: str) -> str | None:
    """The job id of a job's token; None if the token is not a job's.

    Raises NotAuthenticated if it looks like one and the signature is wrong.
    """
    prefix, _, rest = token.partition(".")
    if prefix != JOB_TOKEN_PREFIX:
        return None
    job_id, _, signature = rest.partition(".")
    if not hmac.compare_digest(signature.encode(), _sign(secret_key, job_id).encode()):
        raise NotAuthenticated("Token validation failed: this is not a job's token")
    return job_id


async def job_caller(store: Store, secret_key: str, token: str) -> Caller | None:
    """The caller that a job's own token stands for; None if it is not a job's token.

    Raises NotAuthenticated for a wrong signature, or a job that is not there.
    """
    job_id = job_of_token(secret_key, token)
    if job_id is None:
        return None
    # Of a thousand running jobs, what is kept of their tokens ends at the same time.
    job = await store.job_states.get(ObjectId(job_id))
    if job is None:
        raise NotAuthenticated(INVALID_TOKEN)
    return Caller(user=job["user"], job=job_id)


def engine_token(secret_key: str) -> str:
    """The token with which the engine's scheduled chores call its own server."""
    return hmac.new(secret_key.encode(), b"engine", hashlib.sha256).hexdigest()


def is_engine_token(secret_key: str, token: str) -> bool:
    """Whether it is that token."""
    return hmac.compare_digest(token.encode(), engine_token(secret_key).encode())


class LocalIdentity:
    """Users and tokens in MongoDB, with a short cache (revocation is noticed within a minute)."""

    KEEP_S = 45.0
    KEEP_BAD_S = 5.0
    MAX_ENTRIES = 20_000

    def __init__(
        self, store: Store, secret_key: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._secret_key = secret_key
        self._clock = clock
        self._cache: dict[str, tuple[float, Caller | None]] = {}

    async def caller(self, token: str) -> Caller:
        """Who holds this token; NotAuthenticated with EE2's text if nobody does."""
        if not token:
            raise NotAuthenticated(NO_TOKEN)
        key = hash_token(token)
        kept = self._cache.get(key)
        if kept is None or kept[0] < self._clock():
            found = await self._look_up(token, key)
            if len(self._cache) >= self.MAX_ENTRIES:
                self._cache.clear()
            keep_s = self.KEEP_S if found else self.KEEP_BAD_S
            kept = self._cache[key] = (self._clock() + keep_s, found)
        if kept[1] is None:
            raise NotAuthenticated(INVALID_TOKEN)
        return kept[1]

    async def _look_up(self, token: str, key: str) -> Caller | None:
        job = await job_caller(self._store, self._secret_key, token)
        if job is not None:
            return job
        kept = await self._store.tokens.find_one({"_id": key})
        if kept is None or (kept.get("expires") or now_s() + 1) <= now_s():
            return None
        user = await self._store.users.find_one({"_id": kept["user"]})
        if user is None:
            return None
        return Caller(user=user["_id"], roles=frozenset(user.get("roles", ())))

    async def unknown_users(self, caller: Caller, names: Sequence[str]) -> list[str]:
        """See the port."""
        known = await self._store.users.distinct("_id", {"_id": {"$in": list(names)}})
        return [name for name in names if name not in known]


async def add_user(
    store: Store, name: str, display_name: str = "", roles: tuple[str, ...] = ()
) -> User:
    """Add a local user, or change the display name and roles of one that is there.

    name: lower-case letters, digits and underscores, a letter first, at most 64 (KBase's rule).
    roles: any of `admin`, `admin_read`.
    """
    if not _USER_NAME.fullmatch(name):
        raise InvalidInput(
            f"'{name}' cannot be a user name: use lower-case letters, digits and underscores, "
            "a letter first, at most 64 characters"
        )
    unknown = set(roles) - {ROLE_ADMIN, ROLE_ADMIN_READ}
    if unknown:
        raise InvalidInput(
            f"Unknown role {', '.join(sorted(unknown))}; the roles are admin and admin_read"
        )
    user = User(name, display_name or name, tuple(roles))
    await store.users.update_one(
        {"_id": name},
        {
            "$set": {"display_name": user.display_name, "roles": list(roles)},
            "$setOnInsert": {"created": now_s()},
        },
        upsert=True,
    )
    return user


async def require_user(store: Store, name: str) -> None:
    """NotFound unless there is a local user of that name."""
    if await store.users.find_one({"_id": name}) is None:
        raise NotFound(f"There is no user '{name}': add it with ./ee2 user add {name}")


async def create_token(
    store: Store, user: str, name: str = "", lifetime_days: float | None = None
) -> str:
    """A new token for a local user. Shown once: only its hash is stored."""
    await require_user(store, user)
    token = secrets.token_hex(20)
    document = {"_id": hash_token(token), "user": user, "name": name, "created": now_s()}
    if lifetime_days is not None:
        document["expires"] = now_s() + lifetime_days * 86400
    await store.tokens.insert_one(document)
    return token


async def list_users(store: Store) -> list[User]:
    """The local users, by name."""
    found = store.users.find().sort("_id", 1)
    return [
        User(user["_id"], user.get("display_name", ""), tuple(user.get("roles", ())))
        async for user in found
    ]


async def remove_user(store: Store, name: str) -> int:
    """Remove a local user with all tokens; how many those were. Jobs and workspaces stay. NotFound
    without such a user."""
    await require_user(store, name)
    removed = await store.tokens.delete_many({"user": name})
    await store.users.delete_one({"_id": name})
    return removed.deleted_count


@dataclass(frozen=True)
class Token:
    """What is known of a local token. id: the beginning of its hash. Times in s since the epoch;
    `expires_s` is None for one that does not expire."""

    id: str
    user: str
    name: str
    created_s: float
    expires_s: float | None


async def list_tokens(store: Store, user: str | None = None) -> list[Token]:
    """The local tokens, of one user or all; by user, the oldest first."""
    query = {} if user is None else {"user": user}
    found = store.tokens.find(query).sort([("user", 1), ("created", 1)])
    return [
        Token(
            kept["_id"][:TOKEN_ID], kept["user"], kept.get("name", ""), kept["created"],
            kept.get("expires"),
        )
        async for kept in found
    ]


async def revoke_token(store: Store, token_id: str) -> None:
    """Take a token away. token_id: its id as `list_tokens` has it, or more of its hash. NotFound
    without such a token, InvalidInput if there are several."""
    if not re.fullmatch(rf"[0-9a-f]{{{TOKEN_ID},64}}", token_id):
        raise InvalidInput(f"'{token_id}' is no token's id: see ./ee2 token list")
    found = await store.tokens.find({"_id": {"$regex": f"^{token_id}"}}, {"_id": 1}).to_list(2)
    if not found:
        raise NotFound(f"There is no token {token_id}: see ./ee2 token list")
    if len(found) > 1:
        raise InvalidInput(f"Several tokens begin with {token_id}: give more of the hash")
    await store.tokens.delete_one({"_id": found[0]["_id"]})
