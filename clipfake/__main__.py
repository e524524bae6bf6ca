"""`python -m clipfake`: the command line."""

from clipfake.cli import main

main()
