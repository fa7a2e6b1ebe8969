"""The recipe `table`: the tabular outputs of the jobs of a batch, merged into one table.

Options: `field` (where a job's result has its table, such as `counts`; default: the only .tsv or
.csv file it names), `format` of the merged table (`tsv` or `csv`). A table is a file (an artifact),
a list of mappings, or {"columns": [...], "rows": [[...], ...]}. The merged table has the columns
`child` (place in the batch, from 0) and `job_id`, then all columns in the order they come up.
"""
from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

from common import at, engine_url, fail, first, read_input, request, write_result

OWN = ("child", "job_id")
DELIMITERS = {"tsv": "\t", "csv": ","}
SHOWN_ROWS = 20
csv.field_size_limit(sys.maxsize)


def files(value: Any) -> list[str]:
    """Returns every tabular file that a result names."""
    if isinstance(value, str):
        is_table = value.startswith("artifact:") and value.lower().endswith((".tsv", ".csv"))
        return [value] if is_table else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [name for item in value for name in files(item)] if isinstance(value, list) else []


def fetch(artifact: str, number: int) -> Path:
    """Brings a file of another job here."""
    target = Path("tmp") / f"{number}{Path(artifact).suffix.lower()}"
    url = f"{engine_url()}/artifacts/{quote(artifact.removeprefix('artifact:'))}"
    try:
        with request(url) as answer, target.open("wb") as file:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
    except HTTPError as e:
        fail(f"{artifact} cannot be fetched: {e.read(500).decode(errors='replace') or e}")
    except OSError as e:
        fail(f"{artifact} cannot be fetched: {e}")
    return target


def table_of(child: Mapping[str, Any], field: Any) -> Any:
    """Returns what a child's result has as its table: a file here, or rows; None if nothing."""
    result = first(child)
    if isinstance(field, str):
        found = at(result, field)
        if isinstance(found, str) and not found.startswith("artifact:"):
            fail(f"Job {child['index'] + 1}: {field} is a text and no table: {found[:100]!r}")
    else:
        named = files(result)
        if len(named) > 1:
            fail(f"Job {child['index'] + 1} names several tables ({', '.join(named[:3])}): say "
                 "with the option 'field' which one is meant")
        found = named[0] if named else None
    return fetch(found, child["index"]) if isinstance(found, str) else found


def rows(table: Any, where: str) -> Iterator[dict[str, Any]]:
    """Yields the rows of a table as mappings."""
    if isinstance(table, Path):
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=DELIMITERS.get(table.suffix[1:], "\t"))
            header = next(reader, [])
            for number, row in enumerate(reader, 2):
                if len(row) > len(header):
                    fail(f"{where}: line {number} has {len(row)} fields, the header {len(header)}")
                yield dict(zip(header, row))  # noqa: B905 (the node's Python may be 3.9)
        return
    if isinstance(table, Mapping) and isinstance(table.get("rows"), list):
        columns = [str(column) for column in table.get("columns") or ()]
        for row in table["rows"]:
            if not isinstance(row, list) or len(row) > len(columns):
                fail(f"{where}: a row is not a list of at most {len(columns)} values")
            yield dict(zip(columns, row))  # noqa: B905
        return
    for row in table if isinstance(table, list) else [None]:
        if not isinstance(row, Mapping):
            fail(f"{where}: the table is neither a file nor a list of mappings")
        yield {str(name): value for name, value in row.items()}


def main() -> None:
    """Merges in two passes, so that no table has to fit into memory."""
    options, children = read_input()
    kind = options.get("format", "tsv")
    if kind not in DELIMITERS:
        fail(f"The option 'format' is tsv or csv, not {kind!r}")
    tables, left_out = [], []
    for child in children:
        table = table_of(child, options.get("field")) if child["status"] == "completed" else None
        if table is None:
            why = child.get("error") or "names no table"
            left_out.append({"index": child["index"], "job_id": child["job_id"], "reason": why})
            print(f"Job {child['index'] + 1} is left out: {why}", flush=True)
        else:
            tables.append((child, table, f"The table of job {child['index'] + 1}"))
    if not tables:
        fail("No job of the batch has left a table: a .tsv or .csv file, or rows under the option "
             "'field'")
    columns: dict[str, None] = {}
    for _, table, where in tables:
        if isinstance(table, Path):  # the header says it all
            with table.open(newline="", encoding="utf-8-sig") as file:
                delimiter = DELIMITERS.get(table.suffix[1:], "\t")
                columns.update(dict.fromkeys(next(csv.reader(file, delimiter=delimiter), [])))
        else:
            for row in rows(table, where):
                columns.update(dict.fromkeys(row))
    # A child's own column of one of our names keeps its values under another.
    names = {column: f"{column} (of the job)" if column in OWN else column for column in columns}
    count, shown = 0, io.StringIO()
    with Path(f"artifacts/table.{kind}").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=DELIMITERS[kind], lineterminator="\n")
        preview = csv.writer(shown, delimiter="\t", lineterminator="\n")
        writer.writerow([*OWN, *names.values()])
        preview.writerow([*OWN, *names.values()])
        for child, table, where in tables:
            for row in rows(table, where):
                line = [child["index"], child["job_id"], *(row.get(name, "") for name in columns)]
                writer.writerow(line)
                if count < SHOWN_ROWS:
                    preview.writerow(line)
                count += 1
    print(f"{count} rows of {len(tables)} jobs, {len(columns)} columns; the first ones:")
    print(shown.getvalue(), end="", flush=True)
    write_result({"table": f"artifact:table.{kind}", "rows": count, "jobs": len(tables),
                  "columns": [*OWN, *names.values()], "left_out": left_out})


if __name__ == "__main__":
    main()
