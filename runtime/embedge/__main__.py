"""``python -m embedge``."""

import sys

try:
    from embedge.cli import main
except KeyboardInterrupt:  # main reports it from here on
    sys.exit(130)

sys.exit(main())
