"""`python -m libqueue.cli`."""

from libqueue.cli import main

if __name__ == "__main__":
    main()
