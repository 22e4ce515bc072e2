"""`python -m trioproxy`, and the `trioproxy` command."""

import sys

from trioproxy.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
