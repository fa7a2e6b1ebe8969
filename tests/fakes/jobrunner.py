"""A stand-in for KBase's JobRunner: the same calls in the same order, with nothing run in between.

Usage, as HTCondor starts the real one: jobrunner.py JOB_ID EE2_URL, the token in KB_AUTH_TOKEN.
"""

import json
import os
import sys
import urllib.error
import urllib.request

JOB_ID, URL = sys.argv[1:3]
BASE = URL[: URL.rindex("/") + 1]  # it throws the last part away and appends its own
LIST_CONFIG = (
    "kbase-endpoint", "workspace-url", "external-url", "shock-url", "handle-url", "srv-wiz-url",
    "auth-service-url", "auth-service-url-v2", "auth-service-url-allow-insecure", "scratch",
    "ref_data_base",
)


def call(method, *params):  # type: ignore[no-untyped-def]
    """One call as KBase's generated clients make it: a bare token and no content type."""
    body = {"version": "1.1", "method": f"execution_engine2.{method}", "params": list(params),
            "id": "123456789012345"}
    request = urllib.request.Request(f"{BASE}ee2", json.dumps(body).encode())
    request.add_header("AUTHORIZATION", os.environ["KB_AUTH_TOKEN"])
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            result = json.load(reply)["result"]
    except urllib.error.HTTPError as e:
        assert e.code == 500 and e.headers["content-type"] == "application/json", e
        raise RuntimeError(json.load(e)["error"]["message"]) from None
    return result[0] if result else None


def log(*lines):  # type: ignore[no-untyped-def]
    call("add_job_logs", {"job_id": JOB_ID}, [{"line": x, "is_error": 0} for x in lines])


assert os.environ["KB_ADMIN_AUTH_TOKEN"] and os.environ["JOB_ID"] == JOB_ID
log("Callback server at http://…")
log(f"Running job {JOB_ID} ({os.environ.get('CONDOR_ID')})")
log(f"Client group: {os.environ['CLIENTGROUP']}")
if call("check_job_canceled", {"job_id": JOB_ID})["finished"]:
    sys.exit(1)
params = call("get_job_params", {"job_id": JOB_ID})
module, function = params["method"].split(".")
config = call("list_config")
for key in LIST_CONFIG:
    config[key]
call("start_job", {"job_id": JOB_ID})
for _ in range(3):
    assert not call("check_job_canceled", {"job_id": JOB_ID})["finished"]
    call("add_job_logs", {"job_id": JOB_ID}, [])
log("Job is done")
call("finish_job", {"job_id": JOB_ID, "job_output": {
    "version": "1.1", "id": JOB_ID, "result": [{"method": f"{module}.{function}"}]}})
