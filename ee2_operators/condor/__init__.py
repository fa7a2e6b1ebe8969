"""The HTCondor pool as the operators see it: submit a stage, follow it, tell how its jobs ended."""
