"""The command line `python -m piva.run task=nerf dataset=noe score=piva lambda=0.4`: see cli.py.

Nobody imports this file: `from piva import run` is the function.
"""

from piva.cli import main

if __name__ == "__main__":
    main()
