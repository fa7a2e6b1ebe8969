"""Files that stages hand on: kept below one fsspec URL, as submission/job/name; deleted by age."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec

from ee2_jobs.errors import InvalidInput, NotFound, shown

CHUNK_BYTES = 1 << 20
_ID = re.compile(r"[0-9a-f]{24}")
_BAD_LETTER = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_UNFINISHED = ".ee2-part-"


@dataclass(frozen=True)
class Artifact:
    """The name of an artifact; `parse` checks it."""

    submission: str
    job: str
    name: str

    @classmethod
    def parse(cls, path: str) -> Artifact:
        """`submission/job/name`, where name may have folders; InvalidInput if it is not one."""
        parts = path.split("/")
        names = parts[2:]
        if (
            not names
            or not all(_ID.fullmatch(p) for p in parts[:2])
            or not all(0 < len(n.encode("utf-8", "replace")) <= 200 for n in names)
            or any(n in (".", "..") or n.startswith(_UNFINISHED) for n in names)
            or _BAD_LETTER.search(path)
        ):
            raise InvalidInput(
                f"{shown(path)} is not an artifact's name: submission/job/name, where the first "
                "two are ids and a name has no '..', no backslash and no control character"
            )
        return cls(parts[0], parts[1], "/".join(names))

    def __str__(self) -> str:
        return f"{self.submission}/{self.job}/{self.name}"


class Artifacts:
    """The store of artifacts: a folder by default, S3 or anything fsspec knows by its URL."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)

    def _path(self, artifact: Artifact) -> str:
        return f"{self._root.rstrip('/')}/{artifact}"

    async def write(self, artifact: Artifact, chunks: AsyncIterator[bytes]) -> int:
        """Store a stream; returns its size in bytes. Half a file is never seen under its name."""
        path = self._path(artifact)
        folder = path.rsplit("/", 1)[0]
        part = f"{folder}/{_UNFINISHED}{uuid.uuid4().hex}"
        await asyncio.to_thread(self._fs.makedirs, folder, exist_ok=True)
        size = 0
        file: Any = await asyncio.to_thread(self._fs.open, part, "wb")
        try:
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
                size += len(chunk)
        except BaseException:
            await asyncio.to_thread(file.close)
            await asyncio.to_thread(self._fs.rm, part)
            raise
        await asyncio.to_thread(file.close)
        await asyncio.to_thread(self._fs.mv, part, path)
        return size

    async def size(self, artifact: Artifact) -> int:
        """The size in bytes; NotFound if there is no such artifact (any more)."""
        try:
            info = await asyncio.to_thread(self._fs.info, self._path(artifact))
        except FileNotFoundError:
            raise NotFound(
                f"There is no artifact '{artifact}': it was not made, or it was deleted by age"
            ) from None
        return int(info["size"])

    async def read(self, artifact: Artifact) -> AsyncIterator[bytes]:
        """The content as a stream of chunks."""
        file: Any = await asyncio.to_thread(self._fs.open, self._path(artifact), "rb")
        try:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk
        finally:
            await asyncio.to_thread(file.close)

    async def older_than(
        self, days: float, *, in_time: Callable[[], bool] = lambda: True
    ) -> dict[str, float]:
        """The submissions whose artifacts are all older than that, the oldest first, and when the
        newest of each was changed, s. It stops looking when `in_time()` is False."""
        return await asyncio.to_thread(self._older_than, time.time() - days * 86400, in_time)

    def _older_than(self, limit_s: float, in_time: Callable[[], bool]) -> dict[str, float]:
        old: dict[str, float] = {}
        if not self._fs.exists(self._root):
            return old
        names = {str(f).rstrip("/").rpartition("/")[2] for f in self._fs.ls(self._root, False)}
        for name in sorted(filter(_ID.fullmatch, names)):
            if not in_time():
                break
            # An id begins with the time it was made, so most of the young need no look inside.
            if int(name[:8], 16) > limit_s:
                break
            files = self._fs.find(self._folder(name), detail=True).values()
            newest_s = max((_modified_s(info) for info in files), default=0.0)
            if newest_s < limit_s:
                old[name] = newest_s
        return old

    async def delete(self, submissions: Sequence[str]) -> None:
        """Delete all artifacts of these submissions; of one that has none, nothing."""
        await asyncio.to_thread(self._delete, submissions)

    def _delete(self, submissions: Sequence[str]) -> None:
        for one in submissions:
            with contextlib.suppress(FileNotFoundError):  # another run was faster
                self._fs.rm(self._folder(one), recursive=True)

    def _folder(self, submission: str) -> str:
        return f"{self._root.rstrip('/')}/{submission}"


def _modified_s(info: dict[str, Any]) -> float:
    """When a file was last changed; fsspec's file systems name it differently."""
    for key in ("mtime", "LastModified", "modified", "last_modified"):
        value = info.get(key)
        if value is not None:
            return float(value.timestamp() if hasattr(value, "timestamp") else value)
    return time.time()
