"""How good a detector is: protocols, retrainings, robustness and attacks, as tables."""
