"""The stack's secrets: made once, one file each in VAR/secrets, readable by their owner only."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Keys:
    """All secrets of one stack."""

    fernet_key: str
    jwt_secret: str
    api_secret_key: str
    ee2_secret_key: str
    mongo_password: str
    postgres_password: str
    admin_password: str


def load_keys(var_dir: Path) -> Keys:
    """Read the secrets of the stack in var_dir; those that are missing are made."""
    folder = secrets_dir(var_dir)
    return Keys(
        fernet_key=_kept(folder, "fernet_key", base64.urlsafe_b64encode(os.urandom(32)).decode()),
        jwt_secret=_kept(folder, "jwt_secret", secrets.token_hex(32)),
        api_secret_key=_kept(folder, "api_secret_key", secrets.token_hex(32)),
        ee2_secret_key=_kept(folder, "ee2_secret_key", secrets.token_hex(32)),
        mongo_password=_kept(folder, "mongo_password", secrets.token_hex(16)),
        postgres_password=_kept(folder, "postgres_password", secrets.token_hex(16)),
        admin_password=_kept(folder, "admin_password", secrets.token_urlsafe(12)),
    )


def secrets_dir(var_dir: Path) -> Path:
    """The folder of the secrets, made if missing, closed to other accounts."""
    folder = var_dir / "secrets"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_secret(path: Path, value: str) -> None:
    """Write a secret so that it is never readable by others and never half there."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(value)
    partial.rename(path)


def _kept(folder: Path, name: str, new: str) -> str:
    path = folder / name
    if not path.exists():
        write_secret(path, new)
    return path.read_text()
