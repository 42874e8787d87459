"""Load a running service: `python bench/load.py --calls 50 --seconds 20`; the same as `trunkline sim load`.

50 calls at once, 20 s each:       python bench/load.py --calls 50 --seconds 20
1,000 short ones, 10 per second:   python bench/load.py --calls 1000 --seconds 4 --rate 10
the same, abandoned at random:     python bench/load.py --calls 1000 --seconds 4 --rate 10 --abandon
"""

import typer

from trunkline_sim.cli import load_command

if __name__ == "__main__":
    typer.run(load_command)
