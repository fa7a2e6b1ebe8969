"""Runs one of the engine's chores (`chores/`) as an Airflow task, in the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from ee2_jobs import health
from ee2_jobs.errors import Denied, WrongState
from ee2_jobs.identity import ROLE_ADMIN, Caller, engine_token
from ee2_operators import airflow_internals
from ee2_operators.chores import CHORES, Chore
from ee2_operators.chores.common import ChoreFailed, Done, Work
from ee2_operators.parts import Parts, current_parts

_BEGIN_PART = 0.8
# What a trigger logs has a way of its own to the process that writes it, and what arrives after the
# end of the trigger gets into the triggerer's log only: the end waits so long.
LOG_S = 0.5


class AdminTrigger(BaseTrigger):
    """Runs one chore by its name."""

    def __init__(self, chore: str) -> None:
        super().__init__()
        self.chore = chore

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See BaseTrigger."""
        return "ee2_operators.admin.AdminTrigger", {"chore": self.chore}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Run the chore; like any trigger of ours, never ends with an exception. What it says last
        is one line in the task's log, and the task's return value."""
        try:
            chore = CHORES[self.chore]
            try:
                async with asyncio.timeout(chore.deadline_s):
                    said, for_worker = await self._run(chore)
            except TimeoutError:
                raise ChoreFailed(
                    f"it did not come to an end within {chore.deadline_s:.0f} s; what it has done "
                    "stays done, and the next run goes on"
                ) from None
            await asyncio.sleep(LOG_S)
            if for_worker:
                yield TriggerEvent({"said": said})
            else:
                yield TaskSuccessEvent(xcoms={"return_value": said})
        except Exception as e:
            error = f"{type(e).__name__}: {e}"
            self.log.exception("%s: failed", self.chore)
            await self._note(error, ok=False)
            await asyncio.sleep(LOG_S)
            yield TaskFailedEvent(xcoms={"error": error})

    async def _run(self, chore: Chore) -> tuple[str, bool]:
        parts, task = current_parts(), self.task_instance
        params = airflow_internals.run_params(task)
        dry_run = bool(params.get("dry_run"))
        if chore.once and task is not None and task.try_number > 1:
            raise WrongState(
                "This run was an administrator's order and has been carried out: trigger a new one"
            )
        until = time.monotonic() + _BEGIN_PART * chore.deadline_s
        done = await chore.run(
            Work(parts, self.log, until, dry_run, params, lambda: self._who(parts))
        )
        said = sentence(done, dry_run=dry_run)
        account = f"{said}\n\n{done.text}" if done.text else said
        self.log.info("%s: %s", self.chore, account)
        if not dry_run:
            metric = f"ee2.chore.{self.chore}.{chore.what}"
            airflow_internals.count(metric, done.count, level=chore.level)
            await self._note(said, ok=True)
        return account, done.for_worker

    async def _who(self, parts: Parts) -> Caller:
        """Who triggered this run, as the API server finds it: triggers have no access to that."""
        task = self.task_instance
        assert task is not None
        headers = {"Authorization": engine_token(parts.settings.secret_key)}
        async with httpx.AsyncClient(timeout=30, trust_env=False, headers=headers) as client:
            run = {"dag_id": task.dag_id, "run_id": task.run_id}
            answer = await client.get(f"{parts.settings.rpc_url}/run_user", params=run)
        answer.raise_for_status()
        found = answer.json()
        if found["user"] is None:
            raise Denied(
                "Only a run that an Airflow user has triggered, in the UI or by the REST API, is "
                "carried out: this one has nobody to answer for it"
            )
        return Caller(found["user"], frozenset({ROLE_ADMIN} if found["is_admin"] else ()))

    async def _note(self, said: str, *, ok: bool) -> None:
        """For the report on the engine's health, which is about what runs by itself. MongoDB may be
        what has failed."""
        try:
            if CHORES[self.chore].once:
                return
            await health.note_chore(current_parts().store, self.chore, said=said, ok=ok)
        except Exception:
            self.log.debug("The end of the chore could not be noted", exc_info=True)


def sentence(done: Done, *, dry_run: bool) -> str:
    """What a chore has done, or would do, in one line; a longer account follows it."""
    more = "; there is more to do, which the next run does" if done.more else ""
    dry = "dry run, nothing is changed: " if dry_run else ""
    return f"{dry}{done.said}{more}"
