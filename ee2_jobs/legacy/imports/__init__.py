"""Records of the past: job records of the old services become records of this engine.

Pure translation, one module per old service (`ujs`, `njs`, `ee2`); `run` moves them in batches.
"""
