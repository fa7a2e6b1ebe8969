"""The benchmark: `./ee2 bench` measures the running embedded stack.

What the figures mean stands in docs/reference/benchmarks.md.
"""
