"""How a user wants the pages of jobs: time zone, density, theme, and saved filters.

Documents in `ee2_page_settings`: {_id: user, page: {time_zone, density, theme}, filters: [{name,
page, query, changed (s)}]}.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ee2_jobs.errors import InvalidInput, NotFound, WrongState
from ee2_jobs.model import Document, now_s, to_ms
from ee2_jobs.store import Store

MAX_FILTERS = 50
MAX_NAME_LETTERS = 60
MAX_QUERY_LETTERS = 2000


@lru_cache(maxsize=1)
def _zones() -> set[str]:
    return available_timezones()


class PageSettings(BaseModel):
    """How the pages look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    time_zone: str | None = Field(
        default=None, max_length=60, examples=["Europe/Berlin"],
        description="IANA name; null: that of the browser",
    )
    density: Literal["comfortable", "compact"] = "comfortable"
    theme: Literal["system", "light", "dark"] = "system"

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in _zones():
            raise ValueError("must be the IANA name of a time zone such as Europe/Berlin or UTC")
        return value


class NewFilter(BaseModel):
    """A filter to save."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=MAX_NAME_LETTERS, examples=["Failed this week"])
    page: str = Field(
        min_length=1, max_length=60, pattern=r"^[a-z][a-z0-9/_-]*$", examples=["history"],
        description="the page that it is for",
    )
    query: str = Field(
        max_length=MAX_QUERY_LETTERS, examples=["status=error&min_run=1h"],
        description="the page's query string, without ?",
    )

    @field_validator("name", "query")
    @classmethod
    def _can_be_seen(cls, value: str) -> str:
        text = value.strip()
        if not text.isprintable() or (value and not text):
            raise ValueError("must have characters that can be seen, and no others")
        return text


class SavedFilter(NewFilter):
    """A filter that was saved."""

    changed: int = Field(examples=[1727185950123], description="ms")


async def get_page(store: Store, user: str) -> PageSettings:
    """How the user wants the pages."""
    found = await store.page_settings.find_one({"_id": user}, {"page": 1}) or {}
    return PageSettings.model_validate(found.get("page", {}))


async def set_page(store: Store, user: str, wanted: PageSettings) -> PageSettings:
    """Keep how the user wants the pages."""
    await store.page_settings.update_one(
        {"_id": user}, {"$set": {"page": wanted.model_dump()}}, upsert=True
    )
    return wanted


async def get_filters(store: Store, user: str) -> list[SavedFilter]:
    """The user's filters, by page and name."""
    found = await store.page_settings.find_one({"_id": user}, {"filters": 1}) or {}
    filters = [_filter(one) for one in found.get("filters", ())]
    return sorted(filters, key=lambda one: (one.page, one.name.casefold()))


def _filter(one: Document) -> SavedFilter:
    fields: dict[str, Any] = {**one, "changed": to_ms(one["changed"])}
    return SavedFilter.model_construct(**fields)


async def save_filter(store: Store, user: str, new: NewFilter) -> list[SavedFilter]:
    """Save a filter, in the place of one of the same page and name; all of them then. WrongState
    beyond MAX_FILTERS."""
    one = {**new.model_dump(), "changed": now_s()}
    same = {"name": new.name, "page": new.page}
    done = await store.page_settings.update_one(
        {"_id": user, "filters": {"$elemMatch": same}}, {"$set": {"filters.$": one}}
    )
    if not done.matched_count:
        await store.page_settings.update_one({"_id": user}, {"$setOnInsert": {}}, upsert=True)
        # At the same moment in two windows: neither is lost, nor is it there twice.
        done = await store.page_settings.update_one(
            {
                "_id": user,
                "filters": {"$not": {"$elemMatch": same}},
                f"filters.{MAX_FILTERS - 1}": {"$exists": False},
            },
            {"$push": {"filters": one}},
        )
        if not done.matched_count:
            raise WrongState(
                f"You have {MAX_FILTERS} saved filters: delete one, then save this one"
            )
    return await get_filters(store, user)


async def delete_filter(store: Store, user: str, page: str, name: str) -> list[SavedFilter]:
    """Delete a filter; those that are left. NotFound if there is none."""
    if not name or not page:
        raise InvalidInput("Give page and name of the filter")
    done = await store.page_settings.update_one(
        {"_id": user, "filters": {"$elemMatch": {"name": name, "page": page}}},
        {"$pull": {"filters": {"name": name, "page": page}}},
    )
    if not done.matched_count:
        raise NotFound("There is no such filter (any more)")
    return await get_filters(store, user)
