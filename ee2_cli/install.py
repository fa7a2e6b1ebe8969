"""What the stack needs from the system: Debian packages, the pool's account, HTCondor."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ee2_cli import htcondor, postgres
from ee2_cli.settings import StackError, StackSettings

# Debian package -> a file or program by which we see that it is there.
_DEMO_PACKAGES = {
    "bowtie2": "bowtie2",
    "samtools": "samtools",
    "bowtie2-examples": "/usr/share/doc/bowtie2/examples/reads/reads_1.fq.gz",
}


# The same for the tests.
_TEST_PACKAGES = {
    "chromium": "chromium", "fonts-liberation": "/usr/share/fonts/truetype/liberation",
}  # fmt: skip


def programs(
    settings: StackSettings, log: Callable[[str], None], *, for_tests: bool = False
) -> None:
    """Install the Debian packages that are missing; StackError says which where we may not.
    for_tests: also those that only the tests need."""
    missing = missing_packages(settings)
    if for_tests:
        missing += [name for name, sign in _TEST_PACKAGES.items() if not _there(sign)]
    if missing:
        _apt_install(missing, log)


def pool(settings: StackSettings, log: Callable[[str], None]) -> None:
    """Install HTCondor where it is missing."""
    settings.tools_dir.mkdir(parents=True, exist_ok=True)
    if not htcondor.installed(settings.condor_prefix):
        htcondor.install(settings.condor_prefix, log)


def missing_packages(settings: StackSettings) -> list[str]:
    """Debian packages that are not there."""
    missing = [name for name, sign in _DEMO_PACKAGES.items() if not _there(sign)]
    if settings.database == "postgres" and not postgres.is_installed():
        missing.append("postgresql")
    return missing


def _there(sign: str) -> bool:
    return Path(sign).exists() if sign.startswith("/") else shutil.which(sign) is not None


def _apt_install(packages: list[str], log: Callable[[str], None]) -> None:
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise StackError(
            f"Programs are missing. On Debian, as root: apt-get install {names}"
            if shutil.which("apt-get")
            else f"Programs are missing: install what Debian calls {names}"
        )
    log(f"installing Debian's packages {names}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    done = subprocess.run(install, env=environment, capture_output=True, text=True)
    if done.returncode:  # most often there are no package lists yet, or old ones
        subprocess.run(["apt-get", "update", "-qq"], env=environment, capture_output=True)
        done = subprocess.run(install, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise StackError(f"apt-get could not install {names}:\n{done.stderr.strip()[-1000:]}")


def account(name: str, log: Callable[[str], None]) -> None:
    """Make the account without rights that runs the pool, so that jobs cannot read our secrets."""
    try:
        pwd.getpwnam(name)
        return
    except KeyError:
        log(f"making the account {name} for the pool")
    command = ["useradd", "--system", "--user-group", "--no-create-home", name]
    done = subprocess.run(
        [*command, "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise StackError(f"The account {name} for the pool was not made: {done.stderr.strip()}")
