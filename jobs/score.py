"""`clipfake score` for `ray job submit --working-dir . -- python jobs/score.py ...`; --help says what it takes."""

from clipfake.cli.app import main

main("score")
