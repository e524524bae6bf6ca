"""`clipfake pretrain` for `ray job submit --working-dir . -- python jobs/pretrain.py ...`; see --help."""

from clipfake.cli.app import main

main("pretrain")
