"""The floors of the house: an import that goes up a floor is a bug."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOP = {"ee2_cli", "plugins", "dags"}
FORBIDDEN = {
    "ee2_jobs": TOP
    | {"airflow", "fastapi", "starlette", "httpx", "requests", "uvicorn", "htcondor2", "classad2"}
    | {"api_bridge", "ee2_operators", "htcondor", "classad"},
    "ee2_operators": TOP | {"api_bridge", "fastapi", "starlette"},
    "kbase_services": TOP
    | {"api_bridge", "ee2_operators", "airflow", "fastapi", "starlette", "htcondor2", "classad2"},
    "api_bridge": TOP | {"ee2_operators", "airflow", "htcondor2", "classad2"},
    "ee2_client": TOP | {"ee2_jobs", "api_bridge", "ee2_operators", "kbase_services", "pydantic"},
    "runner": TOP | {"ee2_jobs", "api_bridge", "ee2_operators", "airflow", "pymongo", "bson"},
}


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_no_import_goes_up(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"there is no code in {package}"
    wrong = {
        str(path.relative_to(ROOT)): sorted(imports(path) & FORBIDDEN[package])
        for path in files
        if imports(path) & FORBIDDEN[package]
    }
    assert not wrong


def test_htcondor_is_spoken_to_from_one_process_only() -> None:
    """The bindings hold the interpreter's lock during calls: only the helper may import them."""
    users = {
        str(path.relative_to(ROOT))
        for package in ("ee2_operators", "ee2_cli", "api_bridge", "plugins", "dags")
        for path in (ROOT / package).rglob("*.py")
        if imports(path) & {"htcondor2", "classad2", "htcondor", "classad"}
    }
    assert users == {"ee2_operators/condor/helper.py"}


def test_airflow_internals_live_in_one_module() -> None:
    """What is not Airflow's public interface is used in one module, which one test file pins."""
    public = (
        "airflow.sdk",
        "airflow.triggers.base",
        "airflow.plugins_manager",
        "airflow.listeners",
        "airflow.providers.smtp",
        "airflow.providers.slack",
        "airflow.providers.http",
    )
    wrong = []
    for package in ("ee2_operators", "plugins", "dags"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "airflow_internals.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                module = node.module if isinstance(node, ast.ImportFrom) else None
                if module and module.startswith("airflow.") and not module.startswith(public):
                    wrong.append(f"{path.relative_to(ROOT)}: {module}")
    assert not wrong
