"""The embedded HTCondor pool: how it is configured, started and cleaned up.

All daemons run as one account without rights (personal pool): the caller's own, or, for root, the
account named in the configuration. Who may do anything in the pool is decided by tokens alone: only
the holder of the engine's token can submit, read or remove. Jobs see the machine's own files and
programs, as that account.

Where the programs come from is `htcondor_programs`' business, what stands in the configuration is
`htcondor_config`'s. All three need the standard library only.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ee2_cli.htcondor_config import PoolConfig, config_text
from ee2_cli.htcondor_programs import (
    DAEMONS,
    HELPERS,
    PoolError,
    install,
    installed,
    release,
    run,
)

__all__ = ["PoolConfig", "PoolError", "configure", "install", "installed"]

STOP_SIGNAL = "QUIT"


def configure(cfg: PoolConfig) -> None:
    """Write the pool's configuration and make its folders, its signing key and the engine's token.

    May be called again at any time: what exists is kept, the configuration is written anew.
    Raises PoolError when the account does not exist or a program fails.
    """
    account = _account(cfg)
    cfg.local_dir.mkdir(parents=True, exist_ok=True)
    cfg.local_dir.chmod(0o755)  # the account must get through to its folders
    for name, mode in (
        ("log", 0o755),
        ("spool", 0o700),
        ("execute", 0o755),
        ("lock", 0o755),
        ("run", 0o755),
        ("passwords.d", 0o700),
        ("tokens.d", 0o700),
    ):
        folder = cfg.local_dir / name
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        _give(folder, account)
    _write(cfg.config_file, config_text(cfg), 0o644)
    key = cfg.local_dir / "passwords.d" / "POOL"
    if not key.exists():
        # HTCondor un-scrambles the file with the mask DE AD BE EF and ends the key at the first
        # NUL, so the bytes that would become one, before or after, are left out.
        letters = [b for b in range(256) if b not in (0x00, 0xDE, 0xAD, 0xBE, 0xEF)]
        _write(key, bytes(secrets.choice(letters) for _ in range(64)), 0o600)
        _give(key, account)
        shutil.rmtree(cfg.token_dir, ignore_errors=True)  # signed with another key
    cfg.token_dir.mkdir(exist_ok=True)
    cfg.token_dir.chmod(0o700)
    token = cfg.token_dir / "engine"
    if not token.exists():
        create = str(release(cfg.prefix)["BIN"] / "condor_token_create")
        # As the pool's account: the tool refuses a key that belongs to another.
        said = run([create, "-identity", cfg.engine_identity], _environment(cfg), account)
        _write(token, said.strip() + "\n", 0o600)


def _account(cfg: PoolConfig) -> pwd.struct_passwd | None:
    """The account to run the daemons as, None when that is the caller."""
    if os.geteuid() != 0:
        return None
    if cfg.user is None:
        raise PoolError(
            "The pool's jobs must not run as root: name an account without rights"
            " (PoolConfig.user), for example one made with: useradd --system ee2"
        )
    try:
        return pwd.getpwnam(cfg.user)
    except KeyError:
        raise PoolError(
            f"The account {cfg.user!r}, which is to run the HTCondor pool, does not exist."
            f" Create it: useradd --system {cfg.user}"
        ) from None


def _give(path: Path, account: pwd.struct_passwd | None) -> None:
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)


def _write(path: Path, content: str | bytes, mode: int) -> None:
    """Write a whole file or nothing, never readable by more than `mode` says."""
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(data)
    os.replace(temporary, path)


def _environment(cfg: PoolConfig) -> dict[str, str]:
    """Environment of the daemons: nothing of the caller's, so that no secret of it gets to jobs."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "CONDOR_CONFIG": str(cfg.config_file),
    }


# ------------------------------------------------------------------------------- start and stop


def master_command(cfg: PoolConfig) -> list[str]:
    """Command that runs the pool in the foreground; stop it with STOP_SIGNAL.

    It first ends what an earlier pool in this folder left behind, because a second schedd on the
    same queue would run jobs twice; then it becomes condor_master, as the pool's account when it
    was started by root.
    """
    repository = Path(__file__).resolve().parent.parent
    return [
        "/usr/bin/env",
        f"PYTHONPATH={repository}",
        sys.executable,
        "-m",
        "ee2_cli.htcondor",
        str(cfg.prefix),
        str(cfg.local_dir),
        cfg.user or "",
    ]


def _become_master(cfg: PoolConfig) -> None:
    """Turn this process into the pool's condor_master."""
    ended = kill_orphans(cfg)
    if ended:
        print(f"ended {len(ended)} processes of an earlier pool: {ended}", flush=True)
    if account := _account(cfg):
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.umask(0o022)
    os.chdir(cfg.local_dir)
    master = str(release(cfg.prefix)["SBIN"] / "condor_master")
    os.execve(master, [master, "-f"], _environment(cfg))


def client_config(cfg: PoolConfig) -> dict[str, str]:
    """What a client of the pool needs: the values of the connection `ee2_condor`."""
    return {
        "collector": f"127.0.0.1:{cfg.port}",
        "token_directory": str(cfg.token_dir),
        "trust_domain": cfg.trust_domain,
    }


def client_environment(cfg: PoolConfig) -> dict[str, str]:
    """Environment with which HTCondor's command-line tools (and bindings) speak to the pool."""
    return {
        "PATH": f"{release(cfg.prefix)['BIN']}:/usr/local/bin:/usr/bin:/bin",
        "CONDOR_CONFIG": str(cfg.config_file),
        "_CONDOR_SEC_TOKEN_DIRECTORY": str(cfg.token_dir),
    }


def wait_ready(cfg: PoolConfig, timeout_s: float = 60) -> None:
    """Return when the pool takes jobs: its schedd answers and the machine is in the collector.

    Raises PoolError after `timeout_s`, with what the daemons' logs say last.
    """
    end = time.monotonic() + timeout_s
    tools, env = release(cfg.prefix)["BIN"], client_environment(cfg)
    questions = (["condor_status", "-af", "Name"], ["condor_q", "-totals", "-allusers"])
    said = ""
    while time.monotonic() < end:
        # What a killed master left behind may still answer while the new one is on its way.
        if "condor_master" not in _pool_processes(cfg).values():
            said = "condor_master does not run"
            time.sleep(0.1)
            continue
        for program, *arguments in questions:
            try:
                done = subprocess.run(
                    [tools / program, *arguments],
                    env=env,
                    capture_output=True,
                    text=True,
                    timeout=5,
                )
            except subprocess.TimeoutExpired:
                said = f"{program} got no answer within 5 s"
                break
            said = done.stdout.strip() if done.returncode == 0 else ""
            if not said:
                said = done.stderr.strip()
                break
        else:
            return
        time.sleep(0.1)
    raise PoolError(
        f"The HTCondor pool on port {cfg.port} was not ready after {timeout_s:.0f} s: {said or '?'}"
        f"\nIts logs are in {cfg.local_dir / 'log'}; look at MasterLog first."
    )


def kill_orphans(cfg: PoolConfig, wait_s: float = 3.0) -> list[int]:
    """End every process of the pool in `cfg.local_dir`, daemons and jobs; returns their ids.

    For the time before a start or after a stop: when the master is killed its daemons live on, and
    a starter can wait for a lost shadow for 40 minutes.
    """
    found = _pool_processes(cfg)
    for pid, name in found.items():
        _signal(pid, signal.SIGTERM if name == "job" else signal.SIGQUIT)
    end = time.monotonic() + wait_s
    while (left := _pool_processes(cfg)) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        _signal(pid, signal.SIGKILL)
    return sorted({*found, *left})


def _pool_processes(cfg: PoolConfig) -> dict[int, str]:
    """Living processes of the pool: id -> name of the daemon, or "job".

    They are known by their environment, which daemons pass to each other and starters give to jobs.
    The configuration alone is not enough: a user's shell may have it too, to use the tools.
    """
    config = f"\0CONDOR_CONFIG={cfg.config_file}\0".encode()
    scratch = f"\0_CONDOR_SCRATCH_DIR={cfg.local_dir / 'execute'}/".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = b"\0" + (folder / "environ").read_bytes()
            program = os.path.basename(os.readlink(folder / "exe")).removesuffix(" (deleted)")
        except OSError:  # ended meanwhile, or another account's
            continue
        if scratch in environment:
            found[int(folder.name)] = "job"
        elif config in environment and program in (*DAEMONS, *HELPERS):
            found[int(folder.name)] = program
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    _prefix, _local_dir, _user = sys.argv[1:]
    _become_master(PoolConfig(Path(_prefix), Path(_local_dir), user=_user or None))
