"""`python -m ds4d` is `ds4d`."""

import sys

from ds4d.cli import main

if __name__ == "__main__":
    sys.exit(main())
