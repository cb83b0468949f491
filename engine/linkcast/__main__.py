"""`python -m linkcast` is the command `linkcast`."""

from linkcast.cli import main

if __name__ == "__main__":
    main()
