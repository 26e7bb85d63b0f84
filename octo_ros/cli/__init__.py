"""The command line `octo-ros`: one module a subcommand, found by `main`."""
