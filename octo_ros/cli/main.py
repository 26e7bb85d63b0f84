"""The command line `octo-ros`: finds the subcommand, and turns errors into one line and a code."""

import argparse
import atexit
import contextlib
import importlib
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any
from typing import NoReturn

from octo_ros.cli.interrupts import Stopped
from octo_ros.cli.interrupts import ended_by_signals
from octo_ros.errors import OctoError
from octo_ros.errors import closest

# Modules of this package, each with `add_parser(subparsers)` and `run(args) -> int`.
COMMANDS = ('demo', 'replay', 'record', 'data', 'finetune', 'eval', 'inspect', 'bench', 'doctor')
USAGE_ERROR = 2
_BY_SIGNAL = 128  # plus its number: what a shell gives for a process that a signal ended


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

    Args:
        arguments: those of the process when None, which is then taken to end with the command.

    Returns:
        The exit code: 0 done, 1 a check failed, 2 wrong arguments or an error that the user can
        act on, 128 and the number of the signal that ended it (130 for Ctrl-C).
    """
    codes: list[int] = []
    if arguments is None:
        atexit.register(_end_at_once, codes)  # the first one to come is the last one to go
    codes.append(_run(arguments))
    return codes[0]


def _run(arguments: Sequence[str] | None) -> int:
    name = 'octo-ros'
    try:
        args = build_parser().parse_args(arguments)
        name += f' {args.command}'
        logging.basicConfig(level=logging.DEBUG if args.verbose else logging.WARNING,
                            format='%(levelname)s %(name)s: %(message)s')
        with ended_by_signals():
            command = importlib.import_module(f'octo_ros.cli.{args.command}')
            code: int = command.run(args)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has enough; Python would say so at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BY_SIGNAL + signal.SIGPIPE
    except (OctoError, OSError) as error:  # of the system: a folder that cannot be written
        if args.verbose:
            raise
        # An option that breaks its rule names the command as the place where it was given.
        print(f'{name}: ' + str(error).removeprefix(f'{name}: '), file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(f'{name}: interrupted', file=sys.stderr)
        return _BY_SIGNAL + number


def _end_at_once(codes: Sequence[int]) -> None:
    """Ends the process with the command's code, when all that is to be done at its end is done.

    What is left is Python's own end, where threads of libraries are in its way: it waits for XLA
    that compiles in one and crashes then, as it does at times with those of DDS.
    """
    if codes:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(codes[0])


if __name__ == '__main__':
    sys.exit(main())
