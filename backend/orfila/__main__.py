"""`python -m orfila` is the command `orfila`."""

from orfila.cli import main

main()
