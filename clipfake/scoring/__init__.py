"""The flows `score` and `embed`: listed items are planned in units, worked off by actors, and committed."""
