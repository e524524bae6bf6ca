"""What a file says of itself: how it was encoded, and what its metadata declares."""
