"""Set-up of Airflow's database, run as a program in Airflow's environment: `… NAME < password`.

Everything in one process, because each of Airflow's own commands for it takes ten seconds to
load: the tables of Airflow and of its user management, SQLite's write-ahead log, the roles and
permissions of EE2, and the first user. It may be run again at any time.
"""

from __future__ import annotations

import sys

ROLE = "EE2User"
RESOURCE = "EE2 Jobs"
# Custom permissions; Airflow gives them to nobody by itself, not even to Admin.
_BOTH = [
    ("can_read", RESOURCE),
    ("can_create", RESOURCE),
    ("can_edit", RESOURCE),
    ("can_cancel", RESOURCE),
]
_NO_DAG = "DAG:ee2_none"
# To see and change everybody's jobs, and to steer the engine.
_ADMIN = [("can_admin", RESOURCE)]
# What a user needs in the Airflow UI to see EE2's pages (without Plugins no page or tab is shown).
# Not the runs: Airflow's rights are by DAG, and an app's DAG holds the runs and logs of everybody.
# Airflow's home page asks for lists of them, and is full of errors where that is refused: who may
# read the DAG `_NO_DAG`, which there is not, gets empty ones.
_USER = [
    ("can_read", "Website"),
    ("can_read", "Plugins"),
    ("can_read", _NO_DAG),
    ("can_read", "DAG Runs"),
    ("can_read", "Task Instances"),
    ("menu_access", "Browse"),
    ("can_read", "My Profile"),
    ("can_edit", "My Profile"),
    ("can_read", "My Password"),
    ("can_edit", "My Password"),
]


def main(admin: str, password: str) -> None:
    """Set everything up; the first user, `admin`, gets this password if it is made."""
    from airflow import settings
    from airflow.configuration import conf
    from airflow.providers.fab.auth_manager.models.db import FABDBManager
    from airflow.utils.db import upgradedb
    from airflow.utils.session import create_session

    if conf.get("database", "sql_alchemy_conn").startswith("sqlite"):
        _write_ahead_log(settings.engine)
    upgradedb()
    with create_session() as session:
        FABDBManager(session).upgradedb()
    _roles(admin, password)


def _write_ahead_log(engine: object) -> None:
    """Let readers go on while one process writes. SQLite keeps the mode in the file."""
    from sqlalchemy import Engine, text

    assert isinstance(engine, Engine)
    with engine.connect() as connection:
        mode = connection.execute(text("PRAGMA journal_mode=WAL")).scalar()
    if mode != "wal":
        sys.exit(f"SQLite cannot keep a write-ahead log here (it says {mode}): use a local disk")


def _roles(admin: str, password: str) -> None:
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        manager = builder.sm
        for role_name, permissions in (("Admin", _BOTH + _ADMIN), (ROLE, _BOTH + _USER)):
            role = manager.find_role(role_name) or manager.add_role(role_name)
            for action, resource in permissions:
                manager.add_permission_to_role(role, manager.create_permission(action, resource))
        if manager.find_user(username=admin) is None:
            role = manager.find_role("Admin")
            email = f"{admin}@ee2.invalid"
            if not manager.add_user(admin, "EE2", "Admin", email, role, password=password):
                sys.exit(f"Airflow did not make the user {admin}")


if __name__ == "__main__":
    main(sys.argv[1], sys.stdin.read())
