"""The embedded apps, run as a node runs them: directly, and through the runner."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from ee2_jobs.catalog import RECIPES
from tests.fakes.rpc_server import JOB_ID, SUBMISSION_ID, FakeServer, run_runner

APPS = Path(__file__).resolve().parents[2] / "apps"
EXAMPLES = Path("/usr/share/doc/bowtie2/examples")
needs_bowtie2 = pytest.mark.skipif(
    not (shutil.which("bowtie2") and shutil.which("samtools") and EXAMPLES.exists()),
    reason="needs Debian's bowtie2, bowtie2-examples and samtools")
Node = Callable[..., dict[str, Any]]


def definitions() -> list[tuple[str, str, dict[str, Any]]]:
    return [(folder.name, name, method) for folder in sorted(APPS.iterdir())
            for name, method in yaml.safe_load(
                (folder / "app.yaml").read_text())["methods"].items()]


@pytest.mark.parametrize(("app", "name", "method"), definitions())
def test_app_yaml_is_complete(app: str, name: str, method: dict[str, Any]) -> None:
    known = {"title", "description", "command", "image", "split", "aggregate", "requirements",
             "output", "artifacts", "parameters"}
    assert set(method) <= known and method["title"] and method["description"]
    files = [part for part in method["command"][1:] if not part.startswith("-")]
    assert all((APPS / app / part).is_file() for part in files)
    assert set(method["requirements"]) == {
        "cpus", "memory_mb", "disk_gb", "client_group", "time_limit_s"}
    others = {other for folder, other, _ in definitions() if folder == app}
    assert {method.get("split"), method.get("aggregate")} - {None} <= {*others, *RECIPES}
    assert yaml.safe_load((APPS / app / "app.yaml").read_text())["module"] == app


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """Runs a method through the runner; artifacts are kept from job to job."""
    kept: dict[str, bytes] = {}
    number = 0

    def run(method: str, *params: Any, **changes: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        app, name = method.split(".")
        entry = yaml.safe_load((APPS / app / "app.yaml").read_text())["methods"][name]
        command = ["/usr/bin/python3" if part == "python3" else
                   str(APPS / app / part) if (APPS / app / part).is_file() else part
                   for part in entry["command"]]
        server = FakeServer({"kind": "command", "command": command,
                             "output": entry.get("output", "json"),
                             "artifacts": entry.get("artifacts", "fetch")}, list(params))
        server.claim["job"]["method"] = method
        # Each job of a submission has an id of its own; the runner here always has the same.
        server.claim["submission_id"] = f"{number:024x}"
        server.artifacts = kept
        scratch = tmp_path / str(number)
        scratch.mkdir()
        try:
            code, said = run_runner(server, scratch, timeout_s=120)
        finally:
            server.stop()
        assert code == 0 and said == ""
        assert len(server.finished) == 1
        return {**server.finished[0], "texts": server.texts, "artifacts": kept,
                "saved": server.saved}

    yield run


def bytes_of(done: dict[str, Any], ref: str) -> bytes:
    content: bytes = done["artifacts"][ref.removeprefix("artifact:")]
    return content


def records(bam: bytes, folder: Path) -> list[str]:
    path = folder / "some.bam"
    path.write_bytes(bam)
    out = subprocess.run(["samtools", "view", str(path)], capture_output=True, check=True)
    return sorted(out.stdout.decode().splitlines())


class Page(HTMLParser):
    """Notes every tag, and everything that would be fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name == "src"
                         or (name == "href" and tag == "link")]


@needs_bowtie2
def test_split_run_has_the_reads_of_an_unsplit_run(node: Node, tmp_path: Path) -> None:
    split = node("kb_Bowtie2.split_reads", {"chunks": 3})
    children = split["output"]["result"][0]["children"]
    assert len(children) == 3
    results = []
    for index, child in enumerate(children):
        done = node("kb_Bowtie2.align_reads", *child["params"])
        assert any("overall alignment rate" in text for text in done["texts"])
        results.append({"index": index, "job_id": f"{index:024x}", "status": "completed",
                        "result": done["output"]["result"], "error": None})
    merged = node("kb_Bowtie2.merge_alignments", {"params": [{}], "children": results})
    whole = node("kb_Bowtie2.align_reads")
    result, alone = merged["output"]["result"][0], whole["output"]["result"][0]
    ours = records(bytes_of(merged, result["alignment"]), tmp_path)
    assert ours == records(bytes_of(whole, alone["alignment"]), tmp_path)
    assert len(ours) == 20_000 == result["reads"] == alone["reads"]
    assert result["aligned"] == alone["aligned"] == sum(
        item["result"][0]["aligned"] for item in results)
    # Every aligned base counted once: the mean depth is known from the records alone.
    bases = sum(int(n) for line in ours if not int(line.split("\t")[1]) & 4
                for n in re.findall(r"(\d+)[M=X]", line.split("\t")[5]))
    assert result["mean_coverage"] == pytest.approx(bases / 48_502, rel=0.01)
    assert result["covered_fraction"] > 0.99 and result["chunks_failed"] == 0
    html = bytes_of(merged, result["report"]).decode()
    page = Page()
    page.feed(html)
    assert "svg" in page.tags and page.fetched == [] and "http" not in html
    assert all(f"{index:024x}" in html for index in range(3))
    assert "position on" in html and "(kb)" in html and "depth (reads per position)" in html


@needs_bowtie2
def test_failed_chunk_is_named_in_the_report(node: Node) -> None:
    split = node("kb_Bowtie2.split_reads", {"chunks": 20})
    params = split["output"]["result"][0]["children"][0]["params"]
    done = node("kb_Bowtie2.align_reads", *params)
    children = [
        {"index": 0, "job_id": "a" * 24, "status": "completed",
         "result": done["output"]["result"], "error": None},
        {"index": 1, "job_id": "b" * 24, "status": "error", "result": None,
         "error": "out of <memory>"}]
    merged = node("kb_Bowtie2.merge_alignments", {"params": [], "children": children})
    result = merged["output"]["result"][0]
    assert (result["reads"], result["chunks"], result["chunks_failed"]) == (1000, 2, 1)
    html = bytes_of(merged, result["report"]).decode()
    assert "1 of 2 chunks failed" in html and "out of &lt;memory&gt;" in html
    children[0] = {**children[1], "index": 0}
    none = node("kb_Bowtie2.merge_alignments", {"params": [], "children": children})
    assert none["error"]["message"].startswith("None of the 2 chunks was aligned")


def run_app(folder: Path, script: str, params: list[Any]) -> dict[str, Any]:
    """Runs a script of kb_Bowtie2 directly, without the runner."""
    for name in ("artifacts", "tmp"):
        (folder / name).mkdir()
    (folder / "input.json").write_text(json.dumps({"method": "kb_Bowtie2.x", "params": params}))
    subprocess.run(["/usr/bin/python3", "-B", str(APPS / "kb_Bowtie2" / script), "async"],
                   cwd=folder, capture_output=True, timeout=60)
    output: dict[str, Any] = json.loads((folder / "output.json").read_text())
    return output


def fastq(path: Path, reads: int) -> str:
    path.write_text("".join(f"@r{i}\nACGT\n+\nIIII\n" for i in range(reads)))
    return str(path)


@needs_bowtie2
@pytest.mark.parametrize(("reads", "chunks", "sizes"), [
    (10, 3, [4, 3, 3]), (2, 5, [1, 1]), (8, 1, [8])])
def test_chunks_are_balanced_contiguous_and_in_order(
    tmp_path: Path, reads: int, chunks: int, sizes: list[int]
) -> None:
    files = [fastq(tmp_path / f"{mate}.fq", reads) for mate in (1, 2)]
    output = run_app(tmp_path, "split.py", [
        {"reads_1": files[0], "reads_2": files[1], "chunks": chunks}])
    children = output["result"][0]["children"]
    for mate in (1, 2):
        names = [child["params"][0][f"reads_{mate}"][9:] for child in children]
        parts = [(tmp_path / "artifacts" / name).read_text() for name in names]
        assert [part.count("@") for part in parts] == sizes
        assert "".join(parts) == Path(files[mate - 1]).read_text()
    assert len(children[0]["params"][0]["index"]) == 6


@pytest.mark.parametrize(("params", "message"), [
    ({"reads_1": "/no/such.fq"}, "reads_1: there is no file /no/such.fq"),
    ({"reads_1": 5}, "reads_1 must be the path of a file, not 5"),
    ({"chunks": 0}, "chunks must be a whole number"), ({"chunks": True}, "not True"),
    ({"reads_1": "ten"}, "the files are not a pair"), ({"reads_1": "fasta"}, "not a FASTQ file"),
    ({"reads_1": "cut"}, "is cut off"), ({"reads_1": "none", "reads_2": "none"}, "has no reads"),
    ("text", "must be an object"),
])
def test_bad_parameters_are_explained(tmp_path: Path, params: Any, message: str) -> None:
    files = {"ten": fastq(tmp_path / "ten", 10), "none": fastq(tmp_path / "none", 0),
             "eight": fastq(tmp_path / "eight", 8)}
    for name, text in (("fasta", ">x\nACGT\n"), ("cut", "@r\nACGT\n+\n")):
        (tmp_path / name).write_text(text)
        files[name] = str(tmp_path / name)
    if isinstance(params, dict):
        (tmp_path / "ref.fa").write_text(">r\nACGT\n")
        params = {"reads_1": "eight", "reads_2": "eight", "reference": str(tmp_path / "ref.fa"),
                  **params}
        params = {key: files.get(value, value) if isinstance(value, str) else value
                  for key, value in params.items()}
    error = run_app(tmp_path, "split.py", [params])["error"]
    assert message in error["message"]
    assert set(error) == {"message", "name", "code", "error"}


def test_ee2_test_split_children_and_sum(node: Node) -> None:
    children = node("ee2_test.split", {"children": 3, "fail": [1]})[
        "output"]["result"][0]["children"]
    done = [node("ee2_test.child", *child["params"]) for child in children]
    assert done[1]["error_code"] == 1 and "told to fail" in done[1]["error"]["message"]
    rows = [{"index": i, "job_id": JOB_ID, "status": "error" if "error" in end else "completed",
             "result": end.get("output", {}).get("result"), "error": None}
            for i, end in enumerate(done)]
    assert node("ee2_test.sum", {"params": [], "children": rows})["output"]["result"] == [
        {"sum": 2, "children": 3, "failed": 1}]


def test_ee2_test_true_and_lines(node: Node) -> None:
    assert node("ee2_test.true")["output"] == {}
    done = node("ee2_test.lines", {"count": 5, "stderr_every": 2})
    assert sorted(done["texts"]) == [f"line {i}" for i in range(5)]


def test_recipe_report(node: Node) -> None:
    ref = f"artifact:{SUBMISSION_ID}/{'c' * 24}/x.bam"
    children = [
        {"index": 0, "job_id": "c" * 24, "status": "completed", "result": [{"f": [ref]}],
         "error": None},
        {"index": 1, "job_id": "d" * 24, "status": "error", "result": None, "error": "<b>bad"}]
    done = node("ee2_recipes.report", {"params": [], "children": children})
    result = done["output"]["result"][0]
    assert result["states"] == {"completed": 1, "error": 1}
    html = bytes_of(done, result["report"]).decode()
    page = Page()
    page.feed(html)
    assert "svg" in page.tags and page.fetched == []
    assert "c" * 24 in html and "d" * 24 in html and "&lt;b&gt;bad" in html
    # The page lies at <artifacts>/<submission>/<job>/report.html.
    assert f'href="../../{SUBMISSION_ID}/{"c" * 24}/x.bam"' in html
    assert 'width="500.00"' in html


def child(index: int, result: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"index": index, "job_id": f"{index:024x}", "status": status, "error": None,
            "result": None if result is None else [result], **more}


def test_recipe_set(node: Node) -> None:
    children = [
        child(0, {"genome_ref": "7/3/1", "report_ref": "7/9/1"}),
        child(1, None, "error", error="Out of memory"),
        child(2, {"objects_created": [{"ref": "7/4/2", "description": "x"}]}),
        child(3, {"a_ref": "7/1/1", "b_ref": "7/2/1"}),  # which one?
        child(4, {"rows": 3})]
    options = {"name": "my_set", "type": "KBaseSets.GenomeSet", "description": "All of them"}
    done = node("ee2_recipes.set", {"params": [options], "children": children})
    (saved,) = done["saved"]
    assert saved == {
        "job_id": JOB_ID, "name": "my_set", "type": "KBaseSets.GenomeSet",
        "data": {"description": "All of them", "items": [
            {"ref": "7/3/1", "label": "job 1"}, {"ref": "7/4/2", "label": "job 3"}]}}
    result = done["output"]["result"][0]
    assert result["set_ref"] == "7/1/1" and result["items"] == 2
    assert [(one["index"], one["reason"]) for one in result["left_out"]] == [
        (1, "Out of memory"), (3, "names no object"), (4, "names no object")]
    done = node("ee2_recipes.set", {"params": {**options, "field": "b_ref"}, "children": children})
    assert [item["ref"] for item in done["saved"][0]["data"]["items"]] == ["7/2/1"]


@pytest.mark.parametrize(("options", "text"), [
    ({}, "needs the option 'name'"), ({"name": "x"}, "needs the option 'type'"),
    ({"name": "x", "type": "A.B", "field": "nowhere"}, "No job of the batch has made an object"),
    ([1, 2], "must be a mapping of options"),
])
def test_recipe_set_says_what_is_wrong(node: Node, options: Any, text: str) -> None:
    given = {"params": options, "children": [child(0, {"x_ref": "1/2/3"})]}
    done = node("ee2_recipes.set", given)
    assert text in done["error"]["message"] and done["saved"] == []


def test_recipe_table_of_files_and_rows(node: Node) -> None:
    tsv = node("ee2_test.true")["artifacts"]  # what all jobs of this test have left
    tsv["s/1/counts.tsv"] = b"gene\tcount\nabc\t5\ndef\t7\n"
    tsv["s/2/counts.csv"] = b'gene,length,child\n"a, b",9,mine\n'
    children = [
        child(0, {"counts": "artifact:s/1/counts.tsv", "bam": "artifact:s/1/big.bam"}),
        child(1, {"counts": "artifact:s/2/counts.csv"}),
        child(2, {"counts": [{"gene": "xyz", "count": 1}]}),
        child(3, {"counts": {"columns": ["gene"], "rows": [["q"]]}}),
        child(4, None, "terminated", error="The batch was cancelled.")]
    done = node("ee2_recipes.table", {"params": {"field": "counts"}, "children": children})
    result = done["output"]["result"][0]
    assert bytes_of(done, result["table"]).decode() == (
        "child\tjob_id\tgene\tcount\tlength\tchild (of the job)\n"
        f"0\t{0:024x}\tabc\t5\t\t\n0\t{0:024x}\tdef\t7\t\t\n"
        f"1\t{1:024x}\ta, b\t\t9\tmine\n2\t{2:024x}\txyz\t1\t\t\n3\t{3:024x}\tq\t\t\t\n")
    assert (result["rows"], result["jobs"]) == (5, 4)
    assert [one["index"] for one in result["left_out"]] == [4]
    # Without a field: the only table among a result's files; rows within results need a field.
    done = node("ee2_recipes.table", {"params": {"format": "csv"}, "children": children[:2]})
    assert bytes_of(done, done["output"]["result"][0]["table"]).startswith(b"child,job_id,gene")


@pytest.mark.parametrize(("options", "result", "text"), [
    ({"format": "xls"}, {}, "'format' is tsv or csv"),
    ({}, {"a": "artifact:s/1/a.tsv", "b": "artifact:s/1/b.tsv"}, "names several tables"),
    ({}, {"a": 1}, "No job of the batch has left a table"),
    ({"field": "a"}, {"a": "text"}, "is a text and no table"),
    ({"field": "a"}, {"a": 5}, "neither a file nor a list of mappings"),
    ({"field": "a"}, {"a": "artifact:s/1/gone.tsv"}, "cannot be fetched: no such artifact"),
])
def test_recipe_table_says_what_is_wrong(
    node: Node, options: Any, result: Any, text: str
) -> None:
    done = node("ee2_recipes.table", {"params": options, "children": [child(0, result)]})
    assert text in done["error"]["message"]


def test_apps_leave_nothing_in_their_folder() -> None:
    assert not [path for path in APPS.rglob("*") if path.name == "__pycache__"
                and os.path.isdir(path)]
