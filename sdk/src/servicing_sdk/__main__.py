"""`python -m servicing_sdk`."""

import sys

from servicing_sdk.schema import main

sys.exit(main(sys.argv[1:]))
