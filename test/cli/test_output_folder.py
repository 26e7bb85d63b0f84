"""A folder of output belongs to one command and one set of options."""

import pytest

from octo_ros.cli import output_folder
from octo_ros.cli.main import main
from octo_ros.errors import ParameterError
from test.cli.test_finetune import record

NAME = 'settings.json'


def test_a_command_that_begins_beside_another_changes_no_settings(tmp_path):
    folder = tmp_path / 'out'
    with output_folder.prepared(folder, NAME, {'noise': True}):
        before = (folder / NAME).read_bytes()
        with pytest.raises(ParameterError, match='one command at a time'):  # noqa: SIM117
            with output_folder.prepared(folder, NAME, {'noise': False}):
                pytest.fail('two at once')
        assert (folder / NAME).read_bytes() == before
    with output_folder.prepared(folder, NAME, {'noise': False}):  # nothing had been made
        (folder / 'episode').touch()
    with pytest.raises(ParameterError, match='noise was False, got True'):  # noqa: SIM117
        with output_folder.prepared(folder, NAME, {'noise': True}):
            pytest.fail('mixed')


def test_nothing_is_written_into_a_folder_with_other_things(tmp_path):
    (tmp_path / 'mine.txt').touch()
    with pytest.raises(ParameterError, match='must be empty or made by this command'):  # noqa: SIM117
        with output_folder.prepared(tmp_path, NAME, {}):
            pytest.fail('used')
    assert [file.name for file in tmp_path.iterdir()] == ['mine.txt']


@pytest.mark.parametrize('command', ['record', 'finetune'])
def test_two_commands_at_once_in_one_folder_are_refused(tmp_path, command, capsys):
    out = tmp_path / 'out'
    record(tmp_path / 'bags', 0)
    words = {'record': [str(out), '--episodes', '1'],
             'finetune': [str(tmp_path / 'bags'), '--out', str(out), '--batch-size', '1',
                          '--size', 'primary=16x16']}[command]
    out.mkdir()
    with output_folder.alone(out):
        assert main([command, *words]) == 2
    assert 'must be used by one command at a time' in capsys.readouterr().err
    assert [file.name for file in out.iterdir()] == ['.lock']
