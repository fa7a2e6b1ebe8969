"""The REST API's description for the dashboard's types: `python -m api_bridge.describe_rest`.

It is FastAPI's own, in OpenAPI 3.1; what the service answers at `/ee2/openapi.json` is the same in
the older form that more programs know. `npm run types` in plugins/dashboard makes TypeScript of it.
"""

from __future__ import annotations

import json

from api_bridge.rest.api import create_rest_app
from api_bridge.rest.common import Rest
from api_bridge.service import Service


def described() -> str:
    """The document as JSON, the same for the same code."""

    def no_service() -> Service:
        raise RuntimeError("nobody answers calls here")

    return json.dumps(create_rest_app(Rest(no_service)).openapi(), indent=1, sort_keys=True)


if __name__ == "__main__":
    print(described())
