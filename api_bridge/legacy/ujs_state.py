"""UserAndJobState: what programs keep for a user, by service and key."""

from __future__ import annotations

from typing import Any

from api_bridge.service import Method, Service
from ee2_jobs.errors import InvalidInput, NotAuthenticated
from ee2_jobs.identity import Caller
from ee2_jobs.legacy import user_state


async def service_of(service: Service, token: Any) -> str:
    """The service that holds this token, which stands among the parameters: its user's name. A
    job's own token is no service's."""
    if not token:
        raise InvalidInput("Service token cannot be null or the empty string")
    try:
        who = await service.identity.caller(token)
        if who.job is not None:
            raise NotAuthenticated("this is the token of a job")
    except NotAuthenticated as e:
        raise InvalidInput(
            "Couldn't validate the server token. The authentication server said: "
            f"{str(e).removeprefix('Token validation failed: ')}"
        ) from None
    return who.user


def _authed(auth: Any) -> bool:
    if auth is None:
        raise InvalidInput("auth must be a number, not null")
    return bool(auth)


async def set_state(service: Service, caller: Caller, name: Any, key: Any, value: Any) -> None:
    """Keep a value in a service's name."""
    await user_state.set_state(
        service.engine.store, caller.user, name, key, value, auth=False
    )


async def set_state_auth(
    service: Service, caller: Caller, token: Any, key: Any, value: Any
) -> None:
    """Keep a value that only the service itself can change."""
    name = await service_of(service, token)
    await user_state.set_state(service.engine.store, caller.user, name, key, value, auth=True)


async def get_state(service: Service, caller: Caller, name: Any, key: Any, auth: Any) -> Any:
    """The value; an error if there is none."""
    return await user_state.get_state(
        service.engine.store, caller.user, name, key, auth=_authed(auth)
    )


async def has_state(service: Service, caller: Caller, name: Any, key: Any, auth: Any) -> int:
    """1 if there is a value, else 0."""
    return (await get_has_state(service, caller, name, key, auth))[0]


async def get_has_state(
    service: Service, caller: Caller, name: Any, key: Any, auth: Any
) -> list[Any]:
    """2 values: whether there is one, and what it is."""
    there, value = await user_state.find_state(
        service.engine.store, caller.user, name, key, auth=_authed(auth)
    )
    return [int(there), value]


async def remove_state(service: Service, caller: Caller, name: Any, key: Any) -> None:
    """Forget a value."""
    await user_state.remove_state(service.engine.store, caller.user, name, key, auth=False)


async def remove_state_auth(service: Service, caller: Caller, token: Any, key: Any) -> None:
    """Forget a value that is the service's own."""
    name = await service_of(service, token)
    await user_state.remove_state(service.engine.store, caller.user, name, key, auth=True)


async def list_state(service: Service, caller: Caller, name: Any, auth: Any) -> list[str]:
    """The keys of a service."""
    return await user_state.list_keys(
        service.engine.store, caller.user, name, auth=_authed(auth)
    )


async def list_state_services(service: Service, caller: Caller, auth: Any) -> list[str]:
    """The services that keep something for the user."""
    return await user_state.list_services(
        service.engine.store, caller.user, auth=_authed(auth)
    )


STATE_METHODS: dict[str, Method] = {
    "set_state": Method(set_state, (str, str, object), values="none"),
    "set_state_auth": Method(set_state_auth, (str, str, object), values="none"),
    "get_state": Method(get_state, (str, str, int)),
    "has_state": Method(has_state, (str, str, int)),
    "get_has_state": Method(get_has_state, (str, str, int), values="many"),
    "remove_state": Method(remove_state, (str, str), values="none"),
    "remove_state_auth": Method(remove_state_auth, (str, str), values="none"),
    "list_state": Method(list_state, (str, int)),
    "list_state_services": Method(list_state_services, (int,)),
}
