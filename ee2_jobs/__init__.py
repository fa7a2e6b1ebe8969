"""What a job is: records, states, logs, requirements, rights.

The ground floor of the house. It knows MongoDB and nothing above it: no Airflow, no HTTP, no
HTCondor. What it needs from above (start this submission, who may write this workspace) it declares
as a small protocol, and the top floor hands in the implementation.
"""
