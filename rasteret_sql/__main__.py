"""`python -m rasteret_sql` is `rasteret-sql`."""

from __future__ import annotations

import sys

from rasteret_sql.apps.main import main

if __name__ == "__main__":
    sys.exit(main())
