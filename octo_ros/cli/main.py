"""The command line `octo-ros`: finds the subcommand, and turns errors into one line and a code."""

import argparse
import contextlib
import importlib
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from collections.abc import Sequence
from types import FrameType
from typing import Any
from typing import NoReturn

from octo_ros.errors import OctoError
from octo_ros.errors import closest

# Modules of this package, each with `add_parser(subparsers)` and `run(args) -> int`.
COMMANDS = ('demo', 'replay', 'record', 'data', 'finetune', 'eval', 'inspect', 'bench', 'doctor')
USAGE_ERROR = 2
_BY_SIGNAL = 128  # plus its number: what a shell gives for a process that a signal ended


class Stopped(KeyboardInterrupt):
    """The process was told to stop in another way than by Ctrl-C."""

    def __init__(self, number: int) -> None:
        """Keeps the number of the signal."""
        super().__init__()
        self.number = number


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
        act on, 128 and the number of the signal that ended it (130 for Ctrl-C).
    """
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if args.verbose else logging.WARNING,
                        format='%(levelname)s %(name)s: %(message)s')
    command = importlib.import_module(f'octo_ros.cli.{args.command}')
    try:
        with _signals():
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
        prefix = f'octo-ros {args.command}: '
        # An option that breaks its rule names the command as the place where it was given.
        print(prefix + str(error).removeprefix(prefix), file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(f'octo-ros {args.command}: interrupted', file=sys.stderr)
        return _BY_SIGNAL + number


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Has SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is ended with it."""
    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return
    before = {number: signal.signal(number, stop)
              for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == '__main__':
    sys.exit(main())
