"""KBase's services over HTTP, behind the ports that `ee2_jobs` declares.

It stands on `ee2_jobs` and knows neither the bridge nor Airflow nor HTCondor.
"""
