"""`clipfake embed` for `ray job submit --working-dir . -- python jobs/embed.py ...`; --help says what it takes."""

from clipfake.cli.app import main

main("embed")
