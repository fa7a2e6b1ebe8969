"""The engine's settings, validated at start with a message that names the setting.

They come from the `[ee2]` section of `airflow.cfg` (the top floors read it); here they are a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ee2_jobs.client_groups import ClientGroup as ClientGroup
from ee2_jobs.client_groups import ClientGroups as ClientGroups
from ee2_jobs.client_groups import GroupsFile
from ee2_jobs.errors import InvalidInput


class Settings(BaseModel):
    """The `[ee2]` section. Paths are as this process sees them unless said otherwise."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    rpc_url: str = Field(description="address that runners on the nodes call")
    secret_key: str = Field(repr=False, min_length=16, description="signs the tokens of jobs")
    stage_dir: str = Field(description="folder for user logs, tickets and runner messages")
    apps_dir: str = Field(description="folder of the apps, as the nodes see it")
    artifacts_url: str = Field(description="fsspec URL below which artifacts are kept")
    client_groups: str = Field(description="file of the client groups")
    runner: str = Field(description="the runner program, as the submit host sees it")
    runner_delegate: str = Field(default="", description="command line of KBase's JobRunner")
    max_batch_jobs: int = Field(default=100_000, ge=1, description="jobs in one batch at most")
    max_waiting_jobs: int = Field(
        default=100_000, ge=1, description="waiting jobs of a user for whom no ceiling is set"
    )
    max_body_mb: int = Field(default=64, ge=1, description="size of a request at most, MB")
    artifact_days: int = Field(default=14, ge=1, description="age at which artifacts are deleted")
    artifact_days_failed: int = Field(
        default=30, ge=1, description="the same where a job failed; never less than artifact_days"
    )
    log_days: int = Field(
        default=0, ge=0, description="age at which logs are deleted; 0: they are kept"
    )
    log_days_failed: int = Field(
        default=0, ge=0, description="the same of jobs that failed or were cancelled"
    )
    concierge_user: str = Field(
        default="kbaseconcierge", min_length=1, description="who may call run_job_concierge"
    )
    max_list_jobs: int = Field(default=10_000, ge=1, description="jobs in one listing at most")
    silent_runner_s: int = Field(
        default=900, ge=60, description="a running job not heard of for so long is ended, s"
    )
    owner_time_limit_s: int = Field(
        default=7 * 86400, ge=1, description="run time that an app's owner may set at most, s"
    )
    hold_told_s: int = Field(
        default=86_400, ge=60, description="a hold by hand is told the user after so long, s"
    )
    auth_url: str = Field(default="", description="KBase's Auth2; empty: users in MongoDB")
    workspace_url: str = Field(default="", description="KBase's Workspace; empty: in MongoDB")
    catalog_url: str = Field(default="", description="KBase's Catalog; empty: the apps of apps_dir")
    admin_role: str = Field(default="EE2_ADMIN", description="Auth2 role of administrators")
    admin_read_role: str = Field(
        default="EE2_ADMIN_RO", description="Auth2 role of administrators who may only read"
    )
    catalog_token: str = Field(default="", repr=False, description="with which statistics are sent")
    workspace_admin_token: str = Field(
        default="", repr=False, description="with which objects are saved for users"
    )
    jobs_act_as_user: bool = Field(
        default=False, description="apps get the user's own token for KBase's services"
    )
    notify: Literal["none", "kafka", "webhook"] = Field(
        default="none", description="where changes of state are told"
    )
    kafka_servers: str = Field(default="", description="Kafka's bootstrap servers, host:port,…")
    kafka_topic: str = Field(default="ee2", description="Kafka's topic")
    webhook_url: str = Field(
        default="", repr=False, description="address that gets changes of state by POST"
    )
    notice_channels: str = Field(
        default="",
        pattern=r"^((email|slack|webhook)(,(email|slack|webhook))*)?$",
        description="how people are told of their jobs: email, slack, webhook, with commas between",
    )
    public_url: str = Field(
        default="", description="rpc_url as people's browsers reach it; empty: as it is"
    )
    narrative_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s\"'<>]+)?$",
        description="KBase's Narrative as browsers reach it, for links; empty: no links",
    )
    session_cookie: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]{0,100}$",
        description="cookie in which KBase's pages keep a login; the dashboard takes it, too",
    )
    git_commit: str = Field(default="", description="commit of this code, told by `status`")
    service_version: str = "0.1.0"

    @property
    def services_base(self) -> str:
        """The address below which clients and apps expect all of KBase's services."""
        return self.rpc_url.rsplit("/", 1)[0]

    @property
    def workspace_address(self) -> str:
        """Where clients and apps find the Workspace."""
        return self.workspace_url.rstrip("/") or f"{self.services_base}/ws"

    @property
    def catalog_address(self) -> str:
        """Where clients and apps find the Catalog."""
        return self.catalog_url.rstrip("/") or f"{self.services_base}/catalog"

    @property
    def auth_address(self) -> str:
        """Where clients and apps find Auth2."""
        return self.auth_url.rstrip("/") or f"{self.services_base}/auth"

    def groups(self) -> GroupsFile:
        """The client groups of the file named by `client_groups`; InvalidInput if it is wrong."""
        return GroupsFile(self.client_groups)


def load_settings(section: Mapping[str, str | None]) -> Settings:
    """The settings from the items of `[ee2]`; InvalidInput names each setting that is wrong."""
    given = {k: v for k, v in section.items() if v is not None}
    try:
        settings = Settings.model_validate(given)
    except ValidationError as e:
        wrong = "; ".join(f"[ee2] {'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors())
        raise InvalidInput(f"Settings that must be corrected: {wrong}") from None
    settings.groups()
    return settings
