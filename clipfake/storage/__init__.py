"""Where rows are kept and how they get there: places, stores, schemas, ledgers, claims, and their readers."""
