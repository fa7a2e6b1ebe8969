"""HTTP in, HTTP out: the JSON-RPC envelope, EE2's methods, the runner's methods, artifacts.

Stands on `ee2_jobs` and knows neither Airflow nor the operators; the plugin mounts what
`app.create_app` makes.
"""
