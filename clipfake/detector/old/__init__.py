"""Descriptions of older schema versions: each file lifts one to the current form and lowers one back."""
