#!/usr/bin/env python
"""Entry point of every command: `manage.py help` lists them."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "suite.settings")
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)  # as a shell has it
    except DatabaseError as error:
        if "--traceback" in sys.argv:
            raise
        reason = str(error).splitlines()[0]
        is_behind = "no such" in reason or "does not exist" in reason  # as SQLite and PostgreSQL say it
        mend = "it lacks tables: run manage.py migrate" if is_behind else "manage.py doctor says more"
        sys.exit(f"The database cannot be used ({reason}); {mend}")


if __name__ == "__main__":
    main()
