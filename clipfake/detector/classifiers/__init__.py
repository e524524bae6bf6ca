"""Classifiers: what decides on an embedding, how each is fitted, and their exact products."""
