"""Lists of jobs for people: filter words, pages by cursor, counts, groups, export.

A list shows what was submitted: a batch is one row, and of a job that was run again the newest
attempt. Rights are part of every query. None is left to run long: see `query.py`.
"""
