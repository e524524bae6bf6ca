"""What runs every night, and what tells whether it can: nightly, doctor, demo."""
