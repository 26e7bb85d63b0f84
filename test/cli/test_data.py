"""`octo-ros data` on recordings made here."""

import shutil

import numpy as np
import pytest

from octo_ros.bags import demonstrations
from octo_ros.bags import recording
from octo_ros.bags.packed import zstd
from octo_ros.cli.main import main
from octo_ros.data.store import EpisodeSet

STEP_NS = 200_000_000


def write_bag(path, actions, *, success=True, state=None):
    recording.write_episode(path, recording.RecordedEpisode(
        instruction='lift the block', success=success,
        stamps_ns=STEP_NS * np.arange(len(actions)),
        images={'primary': np.zeros((len(actions), 32, 48, 3), np.uint8)},
        state=np.zeros((len(actions), 7)) if state is None else state, actions=actions),
        start_ns=1_700_000_000_000_000_000)


@pytest.fixture
def bags(tmp_path):
    """Returns a folder of two recordings, the second with a hole in the actions."""
    for number in range(2):
        actions = np.zeros((6, 7))
        actions[4, 3] = np.nan if number else 0.0
        write_bag(tmp_path / f'bags/{number}', actions)
    return tmp_path / 'bags'


def test_check_reports_the_fault_with_recording_time_and_topic(bags, capsys):
    assert main(['data', 'check', str(bags)]) == 1
    printed = capsys.readouterr().out
    assert '/expert_action' in printed
    assert '0.80' in printed
    assert '2 recordings: 1 sound, 2 usable, 1 faults' in printed


@pytest.mark.parametrize('out', ['bags', 'bags/0', 'bags/set', '.'])
def test_recordings_are_not_overwritten_by_the_set_made_of_them(bags, capsys, out):
    before = sorted(bags.rglob('*'))
    assert main(['data', 'build', str(bags), '--out', str(bags.parent / out),
                 '--overwrite']) == 2
    assert 'must lie apart from the source' in capsys.readouterr().err
    assert sorted(bags.rglob('*')) == before


def test_import_is_another_word_for_build(bags, tmp_path, capsys):
    assert main(['data', 'import', str(bags), '--out', str(tmp_path / 'set')]) == 0
    assert len(EpisodeSet(tmp_path / 'set')) == 2
    with pytest.raises(SystemExit):
        main(['data', 'imprt', str(bags)])
    assert "did you mean 'import'?" in capsys.readouterr().err


def test_check_of_sound_recordings_succeeds(bags):
    assert main(['data', 'check', str(bags / '0')]) == 0


def test_sound_file_that_is_packed_and_given_by_itself_is_called_sound(bags, capsys):
    (file,) = (bags / '0').glob('*.mcap')
    packed = bags / f'{file.name}.zstd'
    packed.write_bytes(zstd.compress(file.read_bytes()))
    assert main(['data', 'check', str(packed)]) == 0
    assert '1 recordings: 1 sound' in capsys.readouterr().out


def test_reached_actions_of_a_recording_are_the_differences_of_its_states(tmp_path):
    state = np.cumsum(np.arange(28.0).reshape(4, 7) / 100, axis=0)
    actions = np.full((4, 7), 0.5)
    actions[:, 6] = [1.0, 0.5, 0.0, 0.0]
    write_bag(tmp_path / 'bags/0', actions, state=state)
    command = ['data', 'build', str(tmp_path / 'bags'), '--size', 'primary=16x16',
               '--actions', 'reached']
    assert main([*command, '--out', str(tmp_path / 'set'), '--state', '/state']) == 0
    found = EpisodeSet(tmp_path / 'set')
    np.testing.assert_allclose(found.actions[:, :6], np.diff(state, axis=0)[:, :6], atol=1e-6)
    np.testing.assert_array_equal(found.actions[:, 6], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(found.proprio, state[:-1], atol=1e-6)
    assert len(found.images['image_primary']) == 3


def test_reached_rotations_go_the_short_way_where_an_angle_passes_pi(tmp_path):
    state = np.zeros((6, 7))
    turned = 3.1 + 0.02 * np.arange(6)
    state[:, 3] = state[:, 0] = (turned + np.pi) % (2 * np.pi) - np.pi
    state[:, 5] = -state[:, 3]
    write_bag(tmp_path / 'bags/0', np.zeros((6, 7)), state=state)
    assert main(['data', 'build', str(tmp_path / 'bags'), '--size', 'primary=16x16', '--actions',
                 'reached', '--out', str(tmp_path / 'set'), '--state', '/state']) == 0
    actions = EpisodeSet(tmp_path / 'set').actions
    np.testing.assert_allclose(actions[:, 3], 0.02, atol=1e-6)
    np.testing.assert_allclose(actions[:, 5], -0.02, atol=1e-6)
    assert actions[:, 0].min() < -6.0  # a length is no angle


def test_reached_actions_of_a_recording_want_its_state(bags, tmp_path, capsys):
    assert main(['data', 'build', str(bags), '--out', str(tmp_path / 'set'), '--actions',
                 'reached']) == 2
    assert 'name its topic with --state' in capsys.readouterr().err


@pytest.mark.parametrize(('faults', 'lengths'), [('mend', [6, 4]), ('skip', [6])])
def test_build_skips_or_mends_as_told(bags, tmp_path, faults, lengths):
    out = tmp_path / 'set'
    assert main(['data', 'build', str(bags), '--out', str(out), '--faults', faults,
                 '--size', 'primary=16x16', '--state', '/state']) == 0
    found = EpisodeSet(out)
    assert found.lengths.tolist() == lengths
    assert found.image_sizes == {'image_primary': (16, 16)}
    assert found.proprio.shape == (sum(lengths), 7)


def spoil(path, fault):
    """Replaces a recording by one that cannot be used."""
    if fault == 'empty file':
        next(path.glob('*.mcap')).write_bytes(b'')
        return
    shutil.rmtree(path)
    bag = recording.EpisodeBag(path)
    for step in range(6):
        stamp_ns = step * STEP_NS + 1
        if fault != 'no camera':
            bag.add_image('primary', stamp_ns, np.zeros((32, 48, 3), np.uint8),
                          recording.ImageFormat())
        state = np.full(7, np.nan) if fault == 'no state' else np.zeros(7)
        bag.add_joints('/state', stamp_ns, recording.NAMES, state)
        short = 6 if fault == 'short action' and step == 4 else 7
        if fault != 'no action':
            bag.add_joints('/expert_action', stamp_ns, recording.NAMES[:short], np.zeros(short))
    bag.add_text('/instruction', 1, 'lift the block')
    bag.finish()


@pytest.mark.parametrize('faults', ['skip', 'mend'])
@pytest.mark.parametrize('fault', [
    'empty file', 'no camera', 'no state', 'no action', 'short action'])
def test_one_bad_recording_does_not_spoil_the_others(tmp_path, capsys, caplog, fault, faults):
    for name in 'abc':
        write_bag(tmp_path / f'bags/{name}', np.zeros((6, 7)))
    spoil(tmp_path / 'bags/b', fault)
    source = [str(tmp_path / 'bags'), '--state', '/state']
    assert main(['data', 'check', *source]) == 1
    assert '3 recordings: 2 sound' in capsys.readouterr().out
    assert main(['data', 'build', *source, '--faults', faults,
                 '--out', str(tmp_path / 'set')]) == 0
    mended = [4] if (fault, faults) == ('short action', 'mend') else []
    assert EpisodeSet(tmp_path / 'set').lengths.tolist() == [6, *mended, 6]
    assert main(['data', 'build', *source, '--faults', 'stop', '--out', str(tmp_path / 'x')]) == 2
    assert 'bags/b has faults' in capsys.readouterr().err


def test_an_unforeseen_error_names_its_recording_and_hides_no_other(bags, capsys, monkeypatch):
    read = demonstrations.read_demonstration

    def fail_at_first(path, *args, **options):
        if path.name == '0':
            raise IndexError('list index out of range')
        return read(path, *args, **options)

    monkeypatch.setattr(demonstrations, 'read_demonstration', fail_at_first)
    assert main(['data', 'check', str(bags)]) == 1
    printed = ' '.join(capsys.readouterr().out.split())
    assert 'got IndexError: list index out of range' in printed
    assert '2 recordings: 0 sound, 1 usable, 2 faults' in printed
    assert main(['data', 'check', str(bags / '0')]) == 2
    assert f'recording {bags / "0"} must be' in capsys.readouterr().err


def test_several_readers_make_the_same_set(bags, tmp_path, capsys):
    for name, readers in (('one', '1'), ('two', '2')):
        assert main(['data', 'build', str(bags), '--out', str(tmp_path / name),
                     '--readers', readers]) == 0
    for file in (tmp_path / 'one').iterdir():
        assert file.read_bytes() == (tmp_path / 'two' / file.name).read_bytes()
    assert main(['data', 'build', str(bags), '--out', str(tmp_path / 'three'),
                 '--readers', '0']) == 2
    assert '--readers must be at least 1, got 0' in capsys.readouterr().err


@pytest.mark.parametrize(('options', 'lengths'), [([], [5, 7]), (['--keep-failures'], [5, 6, 7])])
def test_build_leaves_failed_episodes_out_unless_told(tmp_path, capsys, options, lengths):
    for length, success in ((5, True), (6, False), (7, None)):
        write_bag(tmp_path / f'bags/{length}', np.zeros((length, 7)), success=success)
    out = tmp_path / 'set'
    assert main(['data', 'build', str(tmp_path / 'bags'), '--out', str(out), *options]) == 0
    assert EpisodeSet(out).lengths.tolist() == lengths
    assert ('1 episodes that did not succeed' in capsys.readouterr().out) == (not options)


def test_build_stops_at_a_fault_when_told_and_leaves_nothing(bags, tmp_path, capsys):
    assert main(['data', 'build', str(bags), '--out', str(tmp_path / 'set'),
                 '--faults', 'stop']) == 2
    assert not (tmp_path / 'set').exists()
    assert 'has faults' in capsys.readouterr().err


@pytest.mark.parametrize(('options', 'message'), [
    (['--camera', 'primary'], 'KEY=VALUE'),
    (['--camera', 'primary=/a', '--camera', 'image_primary=/b'],
     "'--camera' must name 'image_primary' once, got /a and /b"),
    (['--camera', 'primary=/x', '--camera', 'third=/x'],
     'data: every camera must have a topic of its own, got image_primary=/x, image_third=/x'),
    (['--camera', 'primary=/nowhere'], "must have the topic '/nowhere'"),
    (['--out', 'x', '--size', 'primary=big'], 'primary=256x256'),
    (['--out', 'x', '--size', 'primary=0x32'], "of at least 1x1 pixel, got 'primary=0x32'"),
    (['--out', 'x', '--size', 'primary=8x8', '--size', 'image_primary=9x9'],
     "must name 'image_primary' once"),
    (['--out', 'x', '--size', 'prim=32x32'],
     "--size must name one of primary, got 'prim' (did you mean 'primary'?)")])
def test_wrong_options_are_one_line(bags, tmp_path, capsys, options, message):
    command = 'build' if '--out' in options else 'check'
    assert main(['data', command, str(bags), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_recordings_is_refused(tmp_path, capsys):
    assert main(['data', 'check', str(tmp_path)]) == 2
    assert 'rosbag2 recording' in capsys.readouterr().err


def test_damage_of_a_recording_is_told_once(bags, capfd):
    file = next((bags / '0').glob('*.mcap'))
    file.write_bytes(file.read_bytes()[:-2000])
    main(['data', 'check', str(bags)])
    captured = capfd.readouterr()
    assert 'damage' in captured.out
    assert captured.err == ''
