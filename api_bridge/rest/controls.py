"""Pausing the engine and draining client groups. `/controls`."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from api_bridge.rest.common import ERRORS, NOT_MODIFIED, Rest, etagged
from ee2_jobs import controls
from ee2_jobs.controls import Control, Controls
from ee2_jobs.identity import Caller
from ee2_jobs.model import to_ms


class Switched(BaseModel):
    """A switch that is on."""

    by: str = Field(examples=["root"])
    at: int = Field(examples=[1727185950123], description="ms")
    reason: str | None = Field(examples=["new disks"])


class State(BaseModel):
    """What is accepted and not started now; what runs goes on."""

    paused: Switched | None = Field(description="the whole engine; null: it starts jobs")
    drained: dict[str, Switched] = Field(description="client groups by name")


class _Why(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, examples=["new disks"], description="for the audit")


class _WhichGroup(_Why):
    group: str = Field(examples=["bigmem"])


def _switched(one: Control) -> Switched:
    return Switched(by=one.by, at=to_ms(one.at_s), reason=one.reason)


def _state(now: Controls) -> State:
    return State(
        paused=None if now.paused is None else _switched(now.paused),
        drained={group: _switched(one) for group, one in now.drained.items()},
    )


def router(rest: Rest) -> APIRouter:
    """See the module."""
    routes = APIRouter(prefix="/controls", tags=["controls"], responses=ERRORS)
    reader, writer = Depends(rest.reader), Depends(rest.writer)

    @routes.get("", response_model=State, responses=NOT_MODIFIED, operation_id="controls")
    async def show(request: Request, caller: Caller = reader) -> Response:
        """What is paused and drained, by whom and why. For everybody: it is why jobs wait."""
        return etagged(request, _state(await controls.controls(rest.engine.store)))

    @routes.post("/pause", response_model=State, operation_id="pause")
    async def pause(body: _Why, caller: Caller = writer) -> State:
        """Accept jobs and start none. Nothing changes if it is paused already. In the audit.

        Right: full administrators.
        """
        return _state(await controls.pause(rest.engine, caller, body.reason))

    @routes.post("/resume", response_model=State, operation_id="resume")
    async def resume(body: _Why, caller: Caller = writer) -> State:
        """Start jobs again. Right: as of pause."""
        return _state(await controls.resume(rest.engine, caller, body.reason))

    @routes.post("/drain", response_model=State, operation_id="drain")
    async def drain(body: _WhichGroup, caller: Caller = writer) -> State:
        """Start no more jobs of a client group. Right: as of pause."""
        return _state(await controls.drain(rest.engine, caller, body.group, body.reason))

    @routes.post("/undrain", response_model=State, operation_id="undrain")
    async def undrain(body: _WhichGroup, caller: Caller = writer) -> State:
        """Start the group's jobs again. Right: as of pause."""
        return _state(await controls.undrain(rest.engine, caller, body.group, body.reason))

    return routes
