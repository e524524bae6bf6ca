"""Report rows: their schema, and what is made from them."""
