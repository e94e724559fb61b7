"""`python -m qedeploy`: the command line where the script is not on the path, and for launchers such as torchrun."""

from __future__ import annotations

from qedeploy.cli.main import main

if __name__ == "__main__":
    main()
