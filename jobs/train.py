"""`clipfake train` for `ray job submit --working-dir . -- python jobs/train.py ...`; --help says what it takes."""

from clipfake.cli.app import main

main("train")
