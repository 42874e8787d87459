"""`python -m trunkline` and the `trunkline` command."""

import sys

from trunkline.cli_interrupt import at_once


def main() -> None:
    """Run the command line; its exit status is the process's."""
    with at_once():
        from trunkline.cli import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
