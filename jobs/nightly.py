"""`clipfake nightly` for `ray job submit --working-dir . -- python jobs/nightly.py ...`; --help says what it takes."""

from clipfake.cli.app import main

main("nightly")
