"""The pages that people look at, and the tables beside them: from report rows, runs and evaluations."""
