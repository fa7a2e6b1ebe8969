"""`python -m ee2_cli`: what the bootstrap script `ee2` starts."""

from ee2_cli.main import main

main()
