"""Where a job stands in line, why it waits, when it will start and end; and what the status page
and the overview show. All of it is worked out from one picture of the pool, taken every few seconds
for all who ask (ADR 0021)."""
