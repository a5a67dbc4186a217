"""`python -m piva.noe` under its first name, which scripts still call."""

import runpy

if __name__ == "__main__":
    runpy.run_module("piva.noe", run_name="__main__")
