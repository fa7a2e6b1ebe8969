"""The old databases: connecting to one, and reading a collection in batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.uri_parser import parse_uri

from ee2_jobs.errors import InvalidInput
from ee2_jobs.model import Document
from ee2_jobs.store import Store

BATCH_BYTES = 16_000_000
ANSWER_MS = 5000  # how long to wait for a database
# What Python cannot hold must not stop a run: odd dates stay numbers, odd letters become marks.
_ROW: CodecOptions[Document] = CodecOptions(
    tz_aware=True,
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


@dataclass(frozen=True)
class Row:
    """One row as it was read: its id, its content or why that cannot be decoded, and its bytes."""

    row_id: Any
    content: Document | None
    problem: str | None
    raw: RawBSONDocument


class Source:
    """A database of an old service.

    name: hosts and database, without user and password: what a run's mark is kept under.
    """

    def __init__(self, database: AsyncDatabase[Any], name: str) -> None:
        self._db: AsyncDatabase[RawBSONDocument] = database.with_options(codec_options=_RAW)
        self.database = database.name
        self.name = name

    async def collections(self) -> set[str]:
        """The names of the collections that are there."""
        return set(await self._db.list_collection_names())

    async def count(self, collection: str) -> int:
        """About how many rows there are."""
        return await self._db[collection].estimated_document_count()

    async def batch(self, collection: str, after: Sequence[Any], rows: int) -> list[Row]:
        """The next rows in the order of their ids, at most `rows` and about BATCH_BYTES.

        after: the id of the last row that was read, as the only item; empty at the beginning. A
        bound of the index, unlike a condition, goes over ids of all types.
        """
        coll: AsyncCollection[RawBSONDocument] = self._db[collection]
        cursor = coll.find().hint([("_id", 1)]).sort("_id", 1).limit(rows + len(after))
        if after:
            cursor = cursor.min([("_id", after[0])])
        found: list[Row] = []
        size = 0
        async with cursor:
            async for raw in cursor:
                row = _decoded(raw)
                if after and not found and row.row_id == after[0]:
                    continue
                found.append(row)
                size += len(raw.raw)
                if size >= BATCH_BYTES:
                    break
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._db.client.close()


def connect(uri: str, database: str, password: str | None = None) -> Source:
    """The database at this address; `close` it. password: if the URI has a user and none.

    Raises InvalidInput for what is no URI; never with the URI, which may hold a password.
    """
    given: dict[str, Any] = {} if password is None else {"password": password}
    try:
        nodes = parse_uri(uri)["nodelist"]
        client: AsyncMongoClient[Any] = AsyncMongoClient(
            uri, serverSelectionTimeoutMS=ANSWER_MS, **given
        )
    except (ConfigurationError, InvalidURI, ValueError):
        raise InvalidInput(
            "The address of the old database is not one of MongoDB: write "
            "mongodb://USER@HOST:PORT/?authSource=admin, with letters such as @ : / in names "
            "and passwords percent-encoded"
        ) from None
    hosts = ",".join(sorted(f"{host}:{port}" for host, port in nodes))
    return Source(client[database], f"{hosts}/{database}")


def in_place(store: Store) -> Source:
    """The store's own database, as an old one."""
    return Source(store.db, store.db.name)


def _decoded(raw: RawBSONDocument) -> Row:
    try:
        content: Document = bson.decode(raw.raw, _ROW)
    except (BSONError, ValueError, OverflowError) as e:
        return Row(raw.get("_id"), None, f"it cannot be decoded ({e})", raw)
    return Row(content.get("_id"), content, None, raw)
