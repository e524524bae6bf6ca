"""Heads: trained projections of the embedding, and the triplet loss that trains them."""
