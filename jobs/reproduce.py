"""`clipfake reproduce` for `ray job submit --working-dir . -- python jobs/reproduce.py ...`; see its --help."""

from clipfake.cli.app import main

main("reproduce")
