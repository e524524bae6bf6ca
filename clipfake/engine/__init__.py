"""The flows on Ray: listing, embedding, training and scoring. The only package that imports ray."""
