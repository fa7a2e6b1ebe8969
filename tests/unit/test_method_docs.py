"""The pages on methods name every method that is served."""

import re
from pathlib import Path

import pytest

from api_bridge.legacy import LEGACY_METHODS
from api_bridge.methods import METHODS

ROOT = Path(__file__).parents[2]
NAMES = sorted(m.partition(".")[2] for m in METHODS if m.startswith("execution_engine2."))
# What EE2 0.0.15 offers.
EE2 = """
    list_config ver status run_job run_job_batch retry_job retry_jobs abandon_children
    run_job_concierge get_job_params update_job_status add_job_logs get_job_logs finish_job
    start_job check_job check_job_batch check_jobs check_workspace_jobs cancel_job
    check_job_canceled get_job_status check_jobs_date_range_for_user
    check_jobs_date_range_for_all handle_held_job is_admin get_admin_permission
    get_client_groups
""".split()


def test_all_of_ee2s_methods_are_served() -> None:
    assert set(EE2) <= set(NAMES) and len(EE2) == 28


LEGACY = sorted({m.partition(".")[0] for m in LEGACY_METHODS})


@pytest.mark.parametrize("module", LEGACY)
def test_every_method_of_an_old_service_has_a_row(module: str) -> None:
    """In the section of its service."""
    page = (ROOT / "docs" / "compatibility.md").read_text()
    sections = {part.partition("\n")[0]: part for part in page.split("\n## ")}
    rows = re.findall(r"^\| (`.*?) \|", sections[module], re.MULTILINE)
    named = {name.removeprefix(f"{module}.") for name in re.findall(r"`([\w.]+)`", " ".join(rows))}
    names = {m.partition(".")[2] for m in LEGACY_METHODS if m.startswith(f"{module}.")}
    assert names <= named, f"docs/compatibility.md lacks {module}: {sorted(names - named)}"


def test_every_method_has_a_row() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text()
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert set(NAMES) <= named, f"docs/compatibility.md lacks {sorted(set(NAMES) - named)}"


@pytest.mark.parametrize(
    "call",
    ["POST /job", "GET /job/{id}", "GET /job/{id}?position", "GET /job/{id}?report",
     "GET /job?query", "PUT /job/{id}?suspend", "PUT /job/{id}?resume", "PUT /job/{id}?priority",
     "PUT /job/{id}?clientgroup", "DELETE /job/{id}", "GET /job/{id}/acl", "GET /queue?json"],
)  # fmt: skip
def test_every_call_of_awe_has_a_row(call: str) -> None:
    rows = re.findall(r"^\| (`.*?) \|", (ROOT / "docs/compatibility.md").read_text(), re.MULTILINE)
    assert any(f"`{call}" in row for row in rows)
