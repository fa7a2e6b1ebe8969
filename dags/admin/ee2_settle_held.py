"""Every two minutes, in Airflow: settle jobs that HTCondor holds for a reason of its own. What may
heal is released once; the others end with the reason; a hold by hand is left alone, and told the
owner after a while."""

from __future__ import annotations

import datetime

from ee2_operators.dag import admin_dag

dag = admin_dag(
    "settle_held",
    "Settles jobs that HTCondor holds for a reason of its own",
    __doc__,
    datetime.timedelta(minutes=2),
)
