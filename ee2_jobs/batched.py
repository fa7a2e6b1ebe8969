"""Many small reads at once become one query.

Runners ask for the state of their job every second, each for its own. While one query is under
way, the next questions wait for it to end and then go together: at low load a question is a query
of its own, at high load a query answers hundreds; each answer is as fresh as if asked for alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from bson import ObjectId
from pymongo.asynchronous.collection import AsyncCollection

Document = dict[str, Any]


class BatchedReader:
    """Reads some fields of single documents by id. One per event loop."""

    def __init__(self, collection: AsyncCollection[Document], fields: tuple[str, ...]) -> None:
        self._collection = collection
        self._projection = dict.fromkeys(fields, 1)
        self._waiting: list[tuple[ObjectId, asyncio.Future[Document | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def get(self, oid: ObjectId) -> Document | None:
        """The document's fields as they are now; None if there is no such document."""
        answer: asyncio.Future[Document | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((oid, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, []
                await self._answer(asked)
        finally:
            self._task = None

    async def _answer(
        self, asked: list[tuple[ObjectId, asyncio.Future[Document | None]]]
    ) -> None:
        try:
            ids = list({oid for oid, _ in asked})
            query: Document = {"_id": ids[0] if len(ids) == 1 else {"$in": ids}}
            found = await self._collection.find(query, self._projection).to_list()
        except Exception as e:
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(e)
            return
        by_id = {document["_id"]: document for document in found}
        for oid, answer in asked:
            if not answer.done():
                answer.set_result(by_id.get(oid))
