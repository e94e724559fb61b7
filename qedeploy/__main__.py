"""`python -m qedeploy`, which torchrun starts as well."""

from qedeploy.cli.main import main

main()
