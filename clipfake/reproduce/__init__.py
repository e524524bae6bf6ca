"""The source system's nine experiments, beside what it reported."""
