"""The command line: subcommands, wrong words, errors as one line and an exit code."""

import os
import subprocess
import sys

import pytest

from octo_ros.cli import main as cli
from octo_ros.cli.main import main


@pytest.mark.parametrize('command', cli.COMMANDS)
def test_every_subcommand_has_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, '--help'])
    assert end.value.code == 0
    assert f'octo-ros {command}' in capsys.readouterr().out


@pytest.mark.parametrize(('arguments', 'hint'), [
    (['demmo'], "did you mean 'demo'?"),
    (['inspect', 'shipped', '--jsn'], "did you mean '--json'?"),
    (['bench', '--repeat', 'x'], '--repeats'),
    ([], 'required: COMMAND'),
])
def test_wrong_words_get_the_closest_one_and_exit_code_2(arguments, hint, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert hint in capsys.readouterr().err


def test_an_error_is_one_line_without_a_traceback(tmp_path, capsys):
    assert main(['inspect', str(tmp_path / 'nowhere')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('octo-ros inspect: ')
    assert len(error.splitlines()) == 1


def test_verbose_lets_the_traceback_through(tmp_path):
    with pytest.raises(Exception, match='checkpoint folder'):
        main(['--verbose', 'inspect', str(tmp_path / 'nowhere')])


def test_a_reader_that_has_enough_ends_a_command_without_a_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, '-m', 'octo_ros.cli.main', 'inspect', 'shipped'],
                          stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
                          timeout=60)
    os.close(writing)
    assert done.returncode == 141  # 128 and SIGPIPE
    assert not done.stderr


def test_an_error_of_the_system_is_one_line(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    assert main(['record', str(tmp_path / 'file' / 'inner'), '--episodes', '1']) == 2
    message = capsys.readouterr().err
    assert message.startswith('octo-ros record: ')
    assert 'Not a directory' in message


def test_an_interrupt_ends_with_130(monkeypatch, capsys):
    def interrupted(_args):
        raise KeyboardInterrupt

    monkeypatch.setattr('octo_ros.cli.doctor.run', interrupted)
    assert main(['doctor']) == 130
    assert 'interrupted' in capsys.readouterr().err


def test_an_interrupt_while_the_commands_are_imported_ends_with_130(monkeypatch, capsys):
    def interrupted(_subparsers):
        raise KeyboardInterrupt

    monkeypatch.setattr('octo_ros.cli.doctor.add_parser', interrupted)
    assert main(['doctor']) == 130
    assert capsys.readouterr().err == 'octo-ros: interrupted\n'
