"""What a page about one job, one batch, or a few jobs beside each other needs; no HTTP here.

Everything that comes from clients and apps leaves as data of a bounded size.
"""
