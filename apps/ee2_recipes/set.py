"""The recipe `set`: the objects that the jobs of a batch made, as one object set.

Options: `name` of the set, `type` (such as `KBaseSets.GenomeSet`), `field` (where a job's result
has the reference, such as `genome_ref` or `objects_created.0.ref`; default: the only one it has),
`description`.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from common import at, call, fail, first, job_id, read_input, text_option, write_result

REF = re.compile(r"[^/\s]+/[^/\s]+(/\d+)?")


def is_ref(value: Any) -> bool:
    """Tells whether a value names an object of a workspace."""
    return isinstance(value, str) and REF.fullmatch(value) is not None


def only_ref(result: Any) -> str | None:
    """Returns the only object that a result names: in `objects_created`, or in one field that ends
    in `_ref` (a report is no such object)."""
    if not isinstance(result, Mapping):
        return result if is_ref(result) else None
    found = [o["ref"] for o in result.get("objects_created") or [] if is_ref(o.get("ref"))]
    if not found:
        found = [value for name, value in result.items()
                 if name.endswith("_ref") and name != "report_ref" and is_ref(value)]
    return found[0] if len(found) == 1 else None


def main() -> None:
    """Collects the references and saves the set."""
    options, children = read_input()
    name = text_option(options, "name", "the name of the set in the workspace")
    kind = text_option(options, "type", "the type of the set, such as KBaseSets.GenomeSet")
    field = options.get("field")
    items, left_out = [], []
    for child in children:
        result = first(child)
        ref = at(result, field) if isinstance(field, str) else only_ref(result)
        if child["status"] == "completed" and is_ref(ref):
            items.append({"ref": ref, "label": f"job {child['index'] + 1}"})
        else:
            why = child.get("error") or f"names no object{f' in {field}' if field else ''}"
            left_out.append({"index": child["index"], "job_id": child["job_id"], "reason": why})
            print(f"Job {child['index'] + 1} is left out: {why}", flush=True)
    if not items:
        fail("No job of the batch has made an object to put into the set. Give the option 'field' "
             "if the results name their objects elsewhere than in objects_created or *_ref")
    data = {"description": str(options.get("description") or ""), "items": items}
    saved = call("ee2_runner.save_object",
                 {"job_id": job_id(), "name": name, "type": kind, "data": data})
    print(f"Saved {name} with {len(items)} objects as {saved['ref']}", flush=True)
    write_result({"set_ref": saved["ref"], "items": len(items), "left_out": left_out,
                  "objects_created": [{"ref": saved["ref"], "description": name}]})


if __name__ == "__main__":
    main()
