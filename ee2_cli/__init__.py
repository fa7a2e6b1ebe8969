"""The command line of EE2 on Airflow and the embedded stack it runs."""
