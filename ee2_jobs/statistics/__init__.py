"""Statistics of ended jobs: roll-ups by day (`daily`), reports from them (`report`), and how an
app's newest runs are spread (`percentiles`)."""
