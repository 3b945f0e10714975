"""The command lines, one module each with ``main(argv)``; ``copt`` (copt.py) dispatches to them."""
