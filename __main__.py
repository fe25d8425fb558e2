"""``python -m loopaudit``: the same as the ``loopaudit`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
