"""``python -m reproduction.miracl``: see `reproduction.miracl.task`."""

from reproduction.miracl.task import main

if __name__ == "__main__":
    main()
