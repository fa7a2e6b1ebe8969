"""The services that EE2 took the place of: a table per service from the old name of a method to
one call of a use case."""

from __future__ import annotations

from api_bridge.legacy.njp import NJP_METHODS
from api_bridge.legacy.njs import NJS_METHODS
from api_bridge.legacy.ujs import METHODS as UJS_METHODS
from api_bridge.service import Method

LEGACY_METHODS: dict[str, Method] = {**NJS_METHODS, **NJP_METHODS, **UJS_METHODS}
