"""What the triggers of one process share: the engine's database, the pool, and what works in the
background for all of them: the watcher, the teller and the sampler."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ee2_jobs.client_groups import ClientGroups, GroupsFile
from ee2_jobs.settings import Settings
from ee2_jobs.store import Store
from ee2_operators import airflow_internals
from ee2_operators.condor.pool import Pool, PoolAddress
from ee2_operators.sampler import Sampler
from ee2_operators.teller import Teller
from ee2_operators.watcher import Watcher


@dataclass(frozen=True)
class Parts:
    """See the module. sampler: None in programs that only run stages."""

    settings: Settings
    groups: GroupsFile | ClientGroups
    store: Store
    pool: Pool
    watcher: Watcher
    teller: Teller
    sampler: Sampler | None = None


_parts: WeakKeyDictionary[asyncio.AbstractEventLoop, Parts] = WeakKeyDictionary()


def current_parts() -> Parts:
    """The parts of the running event loop, made when first asked for.

    To be called from a trigger's own task (it reads Airflow's connections). InvalidInput names a
    setting or a connection's field that is wrong.
    """
    loop = asyncio.get_running_loop()
    parts = _parts.get(loop)
    if parts is None:
        settings = airflow_internals.engine_settings()
        store = Store(airflow_internals.mongo_uri())
        address = _pool_address()
        pool = Pool(address)
        groups = settings.groups()
        # With a pool of its own: its long questions keep nobody waiting.
        sampler = Sampler(store, settings, groups, Pool(address))
        parts = Parts(
            settings,
            groups,
            store,
            pool,
            Watcher(store, pool),
            Teller(store, settings),
            sampler,
        )
        _parts[loop] = parts
        parts.teller.poke()
        sampler.poke()
    return parts


def _pool_address() -> PoolAddress:
    connection = airflow_internals.condor_connection()
    known = ("token_directory", "schedd", "trust_domain", "filesystem_domain")
    extra = {k: v for k, v in connection.extra.items() if k in known and v is not None}
    return PoolAddress(connection.host, connection.port, **extra)
