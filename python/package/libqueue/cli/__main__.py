"""`python -m libqueue.cli`."""

from libqueue.cli import main

main()
