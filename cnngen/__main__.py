"""``python -m cnngen`` is the command line."""

from cnngen.cli import main

if __name__ == "__main__":
    main()
