"""The stack's MongoDB: a real mongod with one member in its replica set, access by password only.

One member is enough for transactions and change streams, which need a replica set. Without a key
file and a user, every local account could read and write everything on the loopback port.
"""

from __future__ import annotations

import importlib.util
import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from ee2_cli.keys import write_secret
from ee2_cli.services import Service
from ee2_cli.settings import HOST, StackError, StackSettings

if TYPE_CHECKING:
    from pymongo import MongoClient

USER = "ee2"
DATABASE = "ee2"
REPLICA_SET = "rs0"
# All databases, for scratch databases of tests; clusterManager to follow a change of the port.
_ROLES = ["readWriteAnyDatabase", "dbAdminAnyDatabase", "clusterManager", "clusterMonitor"]
_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13
_ALREADY_INITIALIZED = 23


def binary() -> Path:
    """mongod as the Python package carries it, made executable."""
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "db" / "bin" / "mongod"
        if path.exists():
            if not path.stat().st_mode & 0o100:
                path.chmod(0o755)
            return path
    raise StackError("mongod is missing: remove the folder .venv and start ./ee2 again")


def prepare(settings: StackSettings) -> None:
    """Make mongod's folders, its key file and its configuration."""
    folder = settings.var_dir / "mongo"
    folder.mkdir(mode=0o700, exist_ok=True)
    key_file = folder / "key"
    if not key_file.exists():
        write_secret(key_file, secrets.token_hex(64))
    (folder / "data").mkdir(mode=0o700, exist_ok=True)
    config = {
        "storage": {
            "dbPath": str(folder / "data"),
            "wiredTiger": {"engineConfig": {"cacheSizeGB": 0.5}},
        },
        "net": {
            "bindIp": HOST,
            "port": settings.mongo_port,
            "unixDomainSocket": {"enabled": False},
        },
        "replication": {"replSetName": REPLICA_SET, "oplogSizeMB": 990},
        "security": {"keyFile": str(key_file), "authorization": "enabled"},
        # Statistics for MongoDB's own support: an idle cost without use here.
        "setParameter": {"diagnosticDataCollectionEnabled": False},
    }
    _config_file(settings).write_text(json.dumps(config, indent=1))  # JSON is YAML


def service(settings: StackSettings) -> Service:
    """mongod as a service; `prepare` comes first."""
    return Service(
        "mongod",
        (str(binary()), "--config", str(_config_file(settings))),
        address=f"{HOST}:{settings.mongo_port}",
        stop_grace_s=60,
        group_signal=False,
    )


def _config_file(settings: StackSettings) -> Path:
    return settings.var_dir / "etc" / "mongod.conf"


def uri(settings: StackSettings, password: str) -> str:
    """Connection string, password included."""
    return (
        f"mongodb://{USER}:{quote_plus(password)}@{HOST}:{settings.mongo_port}/{DATABASE}"
        f"?authSource=admin&replicaSet={REPLICA_SET}"
    )


def connection(settings: StackSettings, password: str) -> str:
    """The Airflow connection ee2_mongo, as JSON."""
    return json.dumps(
        {
            "conn_type": "mongo",
            "host": HOST,
            "port": settings.mongo_port,
            "login": USER,
            "password": password,
            "schema": DATABASE,
            "extra": {"authSource": "admin", "replicaSet": REPLICA_SET},
        }
    )


def make_ready(settings: StackSettings, password: str, timeout_s: float = 60) -> None:
    """Wait for mongod to be primary; make the replica set and the user if they are not there.

    Each step is repeated at every start until it is done, so a start that was cut off is mended.
    StackError if it is not a primary within timeout_s, or the password is not the stack's.
    """
    from pymongo import MongoClient
    from pymongo.errors import AutoReconnect, OperationFailure

    address = f"{HOST}:{settings.mongo_port}"
    options: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 1000}
    deadline = time.monotonic() + timeout_s
    problem: Exception | None = None
    while time.monotonic() < deadline:
        try:
            with MongoClient(address, **options) as anyone:
                hello = anyone.admin.command("hello")
                if hello.get("isreplicaset"):
                    _join(anyone, address, password, options)
                elif hello.get("isWritablePrimary") and _log_in(address, password, options):
                    return
                elif hello.get("isWritablePrimary"):
                    _create_user(anyone, password)
        except (AutoReconnect, OperationFailure) as e:
            problem = e
        time.sleep(0.1)
    raise StackError(
        f"MongoDB at {address} did not become ready in {timeout_s:.0f} s ({problem}). "
        f"Its log is {settings.var_dir / 'log' / 'mongod.log'}"
    )


def _join(
    anyone: MongoClient[dict[str, Any]], address: str, password: str, options: dict[str, Any]
) -> None:
    """Make the replica set; if there is one, tell it its member's new address.

    It remembers the address, and does not know itself after EE2_MONGO_PORT was changed.
    """
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

    members = [{"_id": 0, "host": address}]
    try:
        anyone.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members})
        return
    except OperationFailure as e:
        if e.code not in (_UNAUTHORIZED, _ALREADY_INITIALIZED):
            raise
    with MongoClient(address, username=USER, password=password, **options) as user:
        config = user.local.get_collection("system.replset").find_one({})
        if config is not None and config["members"][0]["host"] != address:
            config["members"][0]["host"] = address
            config["version"] += 1
            user.admin.command("replSetReconfig", config, force=True)


def _log_in(address: str, password: str, options: dict[str, Any]) -> bool:
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

    with MongoClient(address, username=USER, password=password, **options) as user:
        try:
            user.admin.command("ping")
            return True
        except OperationFailure as e:
            if e.code == _AUTHENTICATION_FAILED:
                return False
            raise


def _create_user(anyone: MongoClient[dict[str, Any]], password: str) -> None:
    """Make the first user, which mongod lets a local client do as long as there is none."""
    from pymongo.errors import OperationFailure

    try:
        anyone.admin.command("createUser", USER, pwd=password, roles=_ROLES)
    except OperationFailure as e:
        if "requires authentication" in str(e):
            raise StackError(
                "MongoDB has a user already, with another password than the stack's: the file "
                "secrets/mongo_password does not belong to the data in the folder mongo"
            ) from None
        raise
