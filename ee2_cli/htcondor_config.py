"""What an embedded HTCondor pool is, and its configuration."""

import dataclasses
from pathlib import Path

from ee2_cli.htcondor_programs import release

TRUST_DOMAIN = "ee2.local"


@dataclasses.dataclass(frozen=True)
class PoolConfig:
    """One embedded pool.

    prefix: where `install` puts the programs (unused when the system has its own).
    local_dir: the pool's configuration, logs, queue, scratch and tokens.
    port: the one TCP port, on 127.0.0.1 only.
    user: account that runs the daemons and the jobs when the caller is root; None: the caller.
    cpus: cores that the pool advertises. Not the machine's number: most jobs of an embedded stack
        are short or wait for something, the operating system shares the cores well enough, and with
        two slots a batch of 500 would mostly wait. Memory is what really runs out.
    memory_mb: memory that the pool advertises; None: what the machine has.
    trust_domain: whose tokens the pool believes; pools that speak to each other have one each.
    """

    prefix: Path
    local_dir: Path
    port: int = 9719
    user: str | None = None
    cpus: int = 32
    memory_mb: int | None = None
    trust_domain: str = TRUST_DOMAIN

    @property
    def config_file(self) -> Path:
        return self.local_dir / "condor_config"

    @property
    def engine_identity(self) -> str:
        """As whom the engine speaks to the pool."""
        return f"ee2@{self.trust_domain}"

    @property
    def token_dir(self) -> Path:
        """Folder of the engine's token, readable by the caller of `configure` only."""
        return self.local_dir / "engine-token"


def config_text(cfg: PoolConfig) -> str:
    """The text of `condor_config`."""
    folders = {
        **release(cfg.prefix),
        "LOCAL_DIR": cfg.local_dir,
        "ETC": cfg.local_dir,
        **{
            name.upper(): cfg.local_dir / name
            for name in ("log", "spool", "execute", "lock", "run")
        },
        "SEC_PASSWORD_DIRECTORY": cfg.local_dir / "passwords.d",
        "SEC_TOKEN_SYSTEM_DIRECTORY": cfg.local_dir / "tokens.d",
        "SEC_TOKEN_DIRECTORY": cfg.local_dir / "tokens.d",
        "SEC_TOKEN_POOL_SIGNING_KEY_FILE": cfg.local_dir / "passwords.d" / "POOL",
    }
    memory = "" if cfg.memory_mb is None else f"MEMORY = {cfg.memory_mb}\n"
    return (
        "# Written by ee2; changes are lost at the next start.\n"
        + "".join(f"{name} = {folder}\n" for name, folder in folders.items())
        + f"""
DAEMON_LIST = MASTER, SHARED_PORT, COLLECTOR, NEGOTIATOR, SCHEDD, STARTD
use SECURITY: recommended_v9_0
NUM_CPUS = {cfg.cpus}
{memory}
# Loopback only, one port. (NETWORK_INTERFACE alone still listens on IPv6.)
CONDOR_HOST = 127.0.0.1
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NETWORK_HOSTNAME = localhost
NO_DNS = False
USE_SHARED_PORT = True
SHARED_PORT_PORT = {cfg.port}
COLLECTOR_HOST = 127.0.0.1:{cfg.port}
UID_DOMAIN = {cfg.trust_domain}
TRUST_DOMAIN = {cfg.trust_domain}
FILESYSTEM_DOMAIN = {cfg.trust_domain}

# Nobody gets in without a token signed by this pool, not even to look.
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_READ_AUTHENTICATION = REQUIRED
SEC_CLIENT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS
COLLECTOR_BOOTSTRAP_SSL_CERTIFICATE = False
SEC_DEFAULT_INTEGRITY = REQUIRED
SEC_DEFAULT_ENCRYPTION = REQUIRED
ALLOW_DAEMON = condor@{cfg.trust_domain}
ALLOW_NEGOTIATOR = condor@{cfg.trust_domain}
ALLOW_ADMINISTRATOR = condor@{cfg.trust_domain}
ALLOW_WRITE = {cfg.engine_identity} condor@{cfg.trust_domain}
ALLOW_READ = {cfg.engine_identity} condor@{cfg.trust_domain}
QUEUE_SUPER_USERS = {cfg.engine_identity}

# A submitted job starts at once; an idle pool takes about 0.5 % of a core.
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 0
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 1
UPDATE_INTERVAL = 5
PERIODIC_EXPR_INTERVAL = 5
RUNBENCHMARKS = 0

# Fair between users: after so many seconds a slot is no longer used for a user's next job, but is
# given back, and the negotiator hands it out (measured in docs/adr/0019-admission.md).
CLAIM_WORKLIFE = 5

# One slot that is cut to the size of each job.
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
NUM_SLOTS_TYPE_1 = 1

# Jobs run as they would outside: no private mounts (they fail without rights), no containers of
# HTCondor's own, no benchmarks. A starter whose job does not go must not hold its slot for long.
MOUNT_UNDER_SCRATCH =
MOUNT_PRIVATE_DEV_SHM = False
DOCKER =
SINGULARITY =
JAVA =
ENABLE_URL_TRANSFERS = False
MachineMaxVacateTime = 15

# After a crash: the master starts the daemons again at once (not after 10 s), and jobs that ran in
# a pool that is gone run again after a minute (not after the 40 that HTCondor looks for them).
MASTER_BACKOFF_CONSTANT = 1
JOB_TRANSFORM_NAMES = EE2_LEASE
JOB_TRANSFORM_EE2_LEASE @=end
   SET JobLeaseDuration 60
@end
PREEN =

# Routes: jobs that go on to another schedd or to Slurm are looked after by the grid manager.
C_GAHP_LOG = $(LOG)/CGAHPLog
C_GAHP_WORKER_THREAD_LOG = $(LOG)/CGAHPWorkerLog
C_GAHP_CONTACT_SCHEDD_DELAY = 1
CGAHP_SCHEDD_INTERACTION_TIME = 1
GRIDMANAGER_JOB_PROBE_INTERVAL = 5
GRIDMANAGER_CONTACT_SCHEDD_DELAY = 2
GRIDMANAGER_RESOURCE_PROBE_INTERVAL = 30

# Who looks after a crash finds the ended jobs here (the default forgets after some 14,000).
MAX_HISTORY_LOG = 200000000
MAX_HISTORY_ROTATIONS = 10
"""
    )
