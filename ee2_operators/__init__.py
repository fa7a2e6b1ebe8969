"""How a submission runs: shapes become DAGs, stages become HTCondor clusters that triggers follow."""
