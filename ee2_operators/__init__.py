"""How a submission runs: shapes become DAGs, stages HTCondor clusters that triggers follow."""
