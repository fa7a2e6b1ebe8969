"""A user's token for the user's own jobs, where the setting `jobs_act_as_user` asks for it.

Apps of KBase's call its services by themselves, as their user. For them the token that came with
the submission is kept encrypted on the submission, handed to the runner when it claims the job, and
forgotten when the submission ends.
"""

from __future__ import annotations

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ee2_jobs.identity import Caller
from ee2_jobs.model import Document
from ee2_jobs.settings import Settings

FIELD = "user_token"


@lru_cache(maxsize=4)
def _cipher(secret_key: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=b"ee2 user tokens").derive(secret_key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def sealed(settings: Settings, caller: Caller) -> Document:
    """What to add to a new submission: the caller's token, encrypted; nothing where jobs do not act
    as their user, or the caller has no token of another service."""
    if not settings.jobs_act_as_user or caller.token is None:
        return {}
    return {FIELD: _cipher(settings.secret_key).encrypt(caller.token.encode())}


def opened(settings: Settings, submission: Document | None) -> str | None:
    """The token of a submission; None if there is none, or if the secret key has changed since."""
    kept = (submission or {}).get(FIELD)
    if kept is None or not settings.jobs_act_as_user:
        return None
    try:
        return _cipher(settings.secret_key).decrypt(kept).decode()
    except InvalidToken:
        return None
