"""`octo-ros doctor`: that it finds what is there, and says how to get what is not."""

import json

import pytest

from octo_ros.cli import doctor
from octo_ros.cli.main import main


def test_missing_package_is_a_failure_with_a_command():
    found = doctor.package('no_such_module_of_ours', 'no-such-package', 'nothing')
    assert found.state == doctor.FAILURE
    assert found.fix.endswith("pip install 'no-such-package'")


def test_package_that_pip_does_not_know_counts_as_there():
    assert doctor.package('json', 'json-from-apt', 'test').state == doctor.OK


def test_cache_folder_that_cannot_be_made_is_a_warning(monkeypatch, tmp_path):
    blocker = tmp_path / 'file'
    blocker.write_text('')
    blocker.chmod(0o444)
    monkeypatch.setenv('XDG_CACHE_HOME', str(blocker / 'cache'))
    found = doctor.compilation_cache()
    assert found.state == doctor.WARNING
    assert 'XDG_CACHE_HOME' in found.fix


def test_device_is_named():
    assert 'cpu' in doctor.accelerator().detail


def test_this_machine_is_fine(monkeypatch, capsys):
    pytest.importorskip('rclpy', reason='needs ROS 2 (pip install octo_ros[ros])')
    monkeypatch.setenv('ROS_DOMAIN_ID', '101')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    assert main(['doctor', '--json']) == 0
    subjects = {item['subject']: item for item in json.loads(capsys.readouterr().out)}
    assert 'frames of 640x480' in subjects['DDS']['detail']
