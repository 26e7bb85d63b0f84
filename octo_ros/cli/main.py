"""The command line `octo-ros`: finds the subcommand, and turns errors into one line and a code."""

import argparse
import importlib
import logging
import re
import sys
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from octo_ros.errors import OctoError
from octo_ros.errors import closest

# Modules of this package, each with `add_parser(subparsers)` and `run(args) -> int`.
COMMANDS = ('demo', 'replay', 'record', 'data', 'finetune', 'eval', 'inspect', 'bench', 'doctor')
USAGE_ERROR = 2
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser that names the closest word it knows."""

    def error(self, message: str) -> NoReturn:
        """Prints the usage error on one line with the closest known word, and exits with 2."""
        choice = re.match(
            r"argument \S+: invalid choice: '?([^' ]+)'? \(choose from (.+)\)", message)
        if choice:
            known = re.findall(r"[^', ]+", choice.group(2))
            message += closest(choice.group(1), known)
        unknown = re.match(r'unrecognized arguments: (.+)', message)
        if unknown:
            words = [word.split('=')[0] for word in unknown.group(1).split()]
            flags = [word for word in words if word.startswith('-')]
            message += ''.join(closest(flag, self._flags()) for flag in flags[:1])
        self.exit(USAGE_ERROR, f'{self.prog}: {message}\nTry `{self.prog} --help`.\n')

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses, and refuses what a subcommand does not know with that subcommand's own hint."""
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error('unrecognized arguments: ' + ' '.join(rest))
        return known, rest


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser with every subcommand; imports nothing heavy."""
    parser = Parser(prog='octo-ros', description='Drive, test and measure the Octo policy.',
                    allow_abbrev=False)
    parser.add_argument('-v', '--verbose', action='store_true',
                        help='say more, and show tracebacks')
    subparsers = parser.add_subparsers(dest='command', required=True, metavar='COMMAND',
                                       parser_class=Parser)
    for name in COMMANDS:
        importlib.import_module(f'octo_ros.cli.{name}').add_parser(subparsers)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Returns:
        The exit code: 0 done, 1 a check failed, 2 wrong arguments or an error that the user can
        act on, 130 interrupted.
    """
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if args.verbose else logging.WARNING,
                        format='%(levelname)s %(name)s: %(message)s')
    command = importlib.import_module(f'octo_ros.cli.{args.command}')
    try:
        return command.run(args)
    except OctoError as error:
        if args.verbose:
            raise
        print(f'octo-ros {args.command}: {error}', file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print(f'octo-ros {args.command}: interrupted', file=sys.stderr)
        return INTERRUPTED


if __name__ == '__main__':
    sys.exit(main())
