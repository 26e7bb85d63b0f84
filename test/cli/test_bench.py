"""`octo-ros bench`: a short run on the shipped checkpoint, the report, and wrong arguments."""

import json

import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.cli import bench
from octo_ros.cli.main import main


def test_short_run_gives_every_figure(tmp_path, capsys):
    out = tmp_path / 'new' / 'bench.json'
    assert main(['bench', str(shipped_checkpoint()), '--repeats', '2', '--limit', '0.1',
                 '--no-node', '--out', str(out)]) == 0
    figures = json.loads(out.read_text())['models'][str(shipped_checkpoint())]
    assert figures['stages'].keys() == bench.STAGES.keys()
    for stage in figures['stages'].values():
        assert 0 < stage['median_ms'] <= stage['p95_ms'] <= stage['p99_ms']
    assert set(bench.START_UP) == figures['start_up_s']['cold'].keys()
    assert figures['peak_memory_mb']['process'] > 0
    table = capsys.readouterr().out
    assert '| transformer |' in table
    assert '| compile and warm up |' in table


@pytest.mark.parametrize(('arguments', 'hint'), [
    (['octo-smal-1.5'], "did you mean 'octo-small-1.5'?"),
    (['--repeats', '0'], '--repeats must be >= 1'),
])
def test_wrong_arguments_are_refused(arguments, hint, capsys):
    assert main(['bench', *arguments]) == 2
    assert hint in capsys.readouterr().err


def test_checkpoint_that_cannot_be_loaded_ends_with_the_reason(tmp_path, capsys):
    assert main(['bench', str(tmp_path), '--no-node']) == 2
    assert 'config.json' in capsys.readouterr().err
