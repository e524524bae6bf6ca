"""How DuckDB is opened: in bounded memory, spilling to a temporary folder."""

PLANNER_MEMORY = "640MB"  # of DuckDB's; what does not fit is spilled to disk
