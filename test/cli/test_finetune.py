"""`octo-ros finetune` from recordings to a checkpoint that the policy loads."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from octo_ros.bags import recording
from octo_ros.cli.main import main
from octo_ros.policy.octo_model import OctoModel
from test.processes import wait_until

STEP_NS = 200_000_000
SMALL = ['token_size=32', 'layers=1', 'heads=2', 'mlp_dim=32', 'stem_features=[32,32,32,32]',
         'head_dim=32', 'head_blocks=1', 'language_dim=16', 'language_layers=1']


def record(folder, number, steps=6):
    rng = np.random.default_rng(number)
    recording.write_episode(folder / str(number), recording.RecordedEpisode(
        instruction='lift the block', success=True, stamps_ns=STEP_NS * np.arange(steps),
        images={'primary': rng.integers(0, 256, (steps, 16, 16, 3), np.uint8)},
        state=rng.normal(size=(steps, 7)), actions=rng.normal(size=(steps, 7))), start_ns=1)


@pytest.fixture
def bags(tmp_path):
    """Returns a folder of three recordings."""
    for number in range(3):
        record(tmp_path / 'bags', number)
    return tmp_path / 'bags'


def test_recordings_become_a_checkpoint_and_the_run_goes_on(bags, tmp_path, capsys):
    out = tmp_path / 'run'
    command = ['finetune', str(bags), '--out', str(out), '--hold-out', '1', '--batch-size', '4',
               '--size', 'primary=16x16', '--set', *(f'scratch.{item}' for item in SMALL),
               'eval_samples=1', 'log_every=1']
    assert main([*command, '--steps', '2', '--state', '/state', '--proprio']) == 0
    printed = capsys.readouterr().out
    assert 'held-out action error by language' in printed
    assert 'held-out action error by goal' in printed
    for name in ('metrics.csv', 'curves.png', 'parameters.json', 'predictions_goal.png'):
        assert (out / name).is_file()
    model = OctoModel.load_pretrained(out / 'checkpoint')
    assert model.step == 2
    assert list(model.dataset_statistics['action']['mask']) == [True] * 6 + [False]
    observations = {
        'image_primary': np.zeros((1, 2, 16, 16, 3), np.uint8),
        'proprio': np.zeros((1, 2, 7), np.float32), 'timestep_pad_mask': np.ones((1, 2), bool)}
    task = model.create_tasks(texts=['lift the block'])
    actions = model.sample_actions(
        observations, task, rng=jax.random.key(0),
        unnormalization_statistics=model.dataset_statistics['action'])
    assert actions.shape == (1, 4, 7)

    settings = json.loads((out / 'run.json').read_text())
    assert settings.pop('proprio_noise') == 0.0  # a run from before there was this parameter
    settings['model.proprio'] = True  # as was noted before there was `keep`
    (out / 'run.json').write_text(json.dumps(settings))
    assert main([*command, '--steps', '2', '--state', '/state', '--proprio']) == 0

    fine = ['finetune', str(out / 'episodes'), '--checkpoint', str(out / 'checkpoint'), '--out',
            str(tmp_path / 'fine'), '--batch-size', '4', '--steps', '1', '--mode', 'head_only',
            '--modality', 'image_conditioned', '--dataset', 'mine']
    assert main([*fine, '--no-proprio']) == 0
    printed = capsys.readouterr().out
    assert 'taken from the checkpoint' in printed
    assert '+ octo_transformer/obs_proprio' in printed
    model = OctoModel.load_pretrained(tmp_path / 'fine/checkpoint')
    assert set(model.dataset_statistics) == {'mine'}
    assert 'proprio' not in model.example_batch['observation']
    assert main(fine) == 2
    assert 'model.proprio was off, got keep' in capsys.readouterr().err
    settings = json.loads((tmp_path / 'fine/run.json').read_text())
    settings['model.proprio'] = settings['model.velocity'] = False  # an older run, which goes on
    (tmp_path / 'fine/run.json').write_text(json.dumps(settings))
    assert main(fine) == 0

    assert main([*fine, '--out', str(tmp_path / 'kept')]) == 0
    model = OctoModel.load_pretrained(tmp_path / 'kept/checkpoint')
    assert 'proprio' in model.example_batch['observation']


@pytest.mark.parametrize('checkpoint', ['scratch', 'shipped'])
def test_the_preset_of_the_readme_begins_anew_or_finds_the_shipped_policy(
        bags, tmp_path, capsys, checkpoint):
    assert main(['finetune', str(bags), '--preset', 'bridge_small', '--hold-out', '3',
                 '--checkpoint', checkpoint, '--state', '/state',
                 '--out', str(tmp_path / 'run')]) == 2
    assert '--hold-out must be less than the 3 episodes' in capsys.readouterr().err


def test_a_folder_of_a_run_is_not_taken_for_another_run(bags, tmp_path, capsys):
    out = tmp_path / 'run'
    command = ['finetune', str(bags), '--out', str(out), '--batch-size', '4', '--size',
               'primary=16x16', '--steps', '1', '--set', 'model.head=l1', 'augment=false',
               *(f'scratch.{item}' for item in SMALL)]
    assert main(command) == 0
    before = (out / 'parameters.json').read_text()
    for options, words in (
            (['--seed', '7'], 'seed was 42, got 7'),
            (['--hold-out', '1'], 'hold_out was 0, got 1'),
            (['--steps', '2'], 'steps was 1, got 2'),
            (['--learning-rate', '1e-5'], 'optimizer.learning_rate was 0.0003, got 1e-05'),
            (['log_every=7', 'optimizer.clip_gradient=2'], 'optimizer.clip_gradient was 1.0, got'),
            (['--robot', 'franka'], 'robot was widowx, got franka'),
            (['--camera', 'foo=/bar'], "camera was {}, got {'image_foo': '/bar'}")):
        assert main([*command, *options]) == 2  # options that begin with no -- go on with --set
        assert words in capsys.readouterr().err
    assert main(['finetune', '/does/not/exist', *command[2:]]) == 2
    assert "got ['/does/not/exist']" in capsys.readouterr().err
    assert (out / 'parameters.json').read_text() == before


def test_a_folder_of_something_else_is_left_alone(bags, tmp_path, capsys):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/letter.txt').write_text('dear')
    assert main(['finetune', str(bags), '--out', str(tmp_path / 'mine')]) == 2
    assert 'must be empty or made by this command' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'mine').iterdir()] == ['letter.txt']


def test_a_run_that_failed_for_an_option_can_be_corrected(bags, tmp_path, capsys):
    out = str(tmp_path / 'run')
    assert main(['finetune', str(bags), '--out', out, '--camera', 'primary=/nowhere']) == 2
    assert main(['finetune', str(bags / 'none'), '--out', out]) == 2
    assert 'none must be a rosbag2 recording' in capsys.readouterr().err


def test_another_size_than_the_checkpoints_is_refused(bags, tmp_path, capsys):
    command = ['finetune', str(bags), '--out', str(tmp_path / 'run'), '--checkpoint', 'shipped']
    assert main([*command, '--size', 'primary=32x32']) == 2
    assert ("--size of 'primary' must be that of the checkpoint, 64x64, got 32x32; leave it out"
            in capsys.readouterr().err)


@pytest.mark.parametrize(('options', 'message'), [
    (['--set', 'optimizer.learning_rat=1'], "did you mean 'optimizer.learning_rate'"),
    (['--mode', 'ful'], "'full'"),
    (['--steps', '0'], "'steps' must be >= 1"),
    (['--hold-out', '-1'], '--hold-out must be at least 0, got -1'),
    (['--processes', '2', '--process', '1'], 'must be given together, got none for --coordinator'),
    (['--coordinator', 'here:1', '--processes', '2'], 'got none for --process'),
    (['--coordinator', 'here:1', '--processes', '2', '--process', '2'], 'got 2 of 2'),
    (['--coordinator', 'here:1', '--processes', '2', '--process', '-1'], 'got -1 of 2')])
def test_wrong_parameters_are_one_line(tmp_path, capsys, options, message):
    assert main(['finetune', str(tmp_path), '--out', str(tmp_path / 'run'), *options]) == 2
    assert message in capsys.readouterr().err


def test_recordings_must_say_which_topic_is_the_proprio(bags, tmp_path, capsys):
    assert main(['finetune', str(bags), '--out', str(tmp_path / 'run'), '--proprio']) == 2
    assert "'model.proprio' must go with --state" in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


@pytest.fixture
def episode_set(bags, tmp_path):
    """Returns an episode set with images of 32x32."""
    folder = tmp_path / 'set'
    assert main(['data', 'build', str(bags), '--out', str(folder), '--size',
                 'primary=32x32']) == 0
    return folder


@pytest.mark.parametrize('options', [
    ['--size', 'primary=16x16'], ['--actions', 'reached'], ['--camera', 'primary=/camera'],
    ['--state', '/state'], ['--action-topic', '/action'], ['--instruction-topic', '/text'],
    ['--faults', 'stop'], ['--state-names', 'x'],
    ['--gripper-range', '0', '255'], ['--keep-failures'], ['--split', 'train']])
def test_options_that_an_episode_set_cannot_follow_are_refused(
        episode_set, tmp_path, capsys, options):
    out = tmp_path / 'run'
    assert main(['finetune', str(episode_set), '--out', str(out), *options]) == 2
    told = capsys.readouterr().err
    assert f'{options[0]} must not go with an episode set, got {episode_set}' in told
    assert 'octo-ros data build' in told
    assert not out.exists()


def test_an_episode_set_is_not_mixed_with_recordings(bags, episode_set, tmp_path, capsys):
    for sources in ([episode_set, bags], [bags, episode_set]):
        assert main(['finetune', *map(str, sources), '--out', str(tmp_path / 'run')]) == 2
        assert 'one episode set or several recordings must be given' in capsys.readouterr().err


def test_a_set_of_another_image_size_is_refused_for_a_checkpoint(episode_set, tmp_path, capsys):
    out = tmp_path / 'run'
    assert main(['finetune', str(episode_set), '--out', str(out), '--checkpoint', 'shipped',
                 '--batch-size', '4', '--steps', '1']) == 2
    told = capsys.readouterr().err
    assert 'image_primary must be 64x64 as in the checkpoint, got 32x32' in told
    assert '--size primary=64x64' in told
    assert not (out / 'state').exists()


def forget_data(out):
    """Makes the settings of a run those of a version that did not note its data."""
    settings = json.loads((out / 'run.json').read_text())
    assert settings.pop('data')
    (out / 'run.json').write_text(json.dumps(settings))


def test_recordings_that_came_later_are_not_left_out_without_a_word(bags, tmp_path, capsys):
    out = tmp_path / 'run'
    command = ['finetune', str(bags), '--out', str(out), '--size', 'primary=16x16',
               '--hold-out', '9']  # is refused when the episodes have been made
    too_many = '--hold-out must be less than the 3 episodes'
    for _ in range(2):
        assert main(command) == 2
        assert too_many in capsys.readouterr().err
    record(bags, 3)
    shutil.rmtree(bags / '0')
    shutil.rmtree(bags / '1')
    record(bags, 1, steps=9)
    before = (out / 'run.json').read_text()
    assert main(command) == 2
    told = capsys.readouterr().err
    assert (f'{out} must go on with the recordings that it began with, got 1 new ({bags}/3), 1 '
            f'changed ({bags}/1), 1 gone ({bags}/0); choose another folder') in told
    assert (out / 'run.json').read_text() == before
    forget_data(out)
    assert main(command) == 2
    assert too_many in capsys.readouterr().err
    shutil.rmtree(bags)  # the episodes are kept for this, and what they came from is noted still
    for _ in range(2):
        assert main(command) == 2
        assert too_many in capsys.readouterr().err
    assert json.loads((out / 'run.json').read_text())['data']


def test_a_set_that_was_built_anew_is_not_gone_on_with(bags, episode_set, tmp_path, capsys):
    out = tmp_path / 'run'
    command = ['finetune', str(episode_set), '--out', str(out), '--hold-out', '9']
    build = ['data', 'build', str(bags), '--out', str(episode_set), '--overwrite',
             '--size', 'primary=32x32']
    assert main(command) == 2
    assert main([*build, '--state', '/state']) == 0
    capsys.readouterr()
    assert main(command) == 2  # nothing was trained with the old ones
    assert '--hold-out must be less' in capsys.readouterr().err
    (out / 'state').mkdir()
    assert main(build) == 0  # the same names and lengths
    capsys.readouterr()
    assert main(command) == 2
    assert (f'{out} must go on with the data that it began with, but {episode_set} holds others '
            'now; choose another folder') in capsys.readouterr().err
    forget_data(out)
    assert main(command) == 2
    assert '--hold-out must be less' in capsys.readouterr().err


def test_one_episode_must_be_left_to_train_with(bags, tmp_path, capsys):
    command = ['finetune', str(bags), '--out', str(tmp_path / 'run'), '--size', 'primary=16x16']
    for count in ('3', '4'):  # the episodes that were made do not fix what is held out
        assert main([*command, '--hold-out', count]) == 2
        assert f'less than the 3 episodes of {tmp_path}/run/episodes, got {count}' in (
            capsys.readouterr().err)
    assert not (tmp_path / 'run/vocabulary').exists()


def test_a_state_that_the_policy_is_not_given_is_told_of(bags, tmp_path, capsys):
    assert main(['finetune', str(bags), '--out', str(tmp_path / 'run'), '--state', '/state',
                 '--size', 'primary=16x16', '--steps', '1', '--batch-size', '4',
                 '--set', *(f'scratch.{item}' for item in SMALL)]) == 0
    assert 'the policy is not given the state on /state; --proprio does so' in (
        capsys.readouterr().out)


def test_a_new_model_of_which_only_the_head_is_trained_is_told_of(bags, tmp_path, caplog):
    command = ['finetune', str(bags), '--out', str(tmp_path / 'run'), '--size', 'primary=16x16',
               '--mode', 'head_only', '--hold-out', '3']
    assert main(command) == 2  # for no episode is left
    assert 'the rest stays random; train it with --mode full' in caplog.text


@pytest.mark.parametrize('words', [
    ['--set', 'help'], ['x', '--out', 'y', '--set', 'help'], ['--set', 'help', 'x', '--out', 'y']])
def test_all_parameters_can_be_listed_whatever_else_is_missing(
        tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(['finetune', *words])
    assert end.value.code == 0
    assert 'optimizer.ema_decay' in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_divided_is_refused_before_anything_is_written(
        bags, tmp_path, capsys):
    out = tmp_path / 'run'
    assert main(['finetune', str(bags), '--out', str(out), '--batch-size', '4',
                 '--size', 'primary=16x16', '--set', 'optimizer.accumulate=3']) == 2
    assert "'batch_size' must be a multiple of" in capsys.readouterr().err
    assert not out.exists()


def test_ctrl_c_before_the_first_step_ends_at_once_and_the_run_can_be_started_again(
        bags, tmp_path):
    out = tmp_path / 'run'
    command = ['finetune', str(bags), '--out', str(out), '--batch-size', '4', '--steps', '1',
               '--size', 'primary=16x16', '--set', 'model.head=l1', 'augment=false',
               *(f'scratch.{item}' for item in SMALL)]
    # Libraries are imported, a new model is compiled, a step is compiled.
    for phase in (None, out / 'vocabulary', out / 'state'):
        process = subprocess.Popen(
            [sys.executable, '-m', 'octo_ros.cli.main', *command], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        maps = Path(f'/proc/{process.pid}/maps')
        wait_until(phase.exists if phase else lambda maps=maps: 'numpy' in maps.read_text(),
                   f'{phase}')
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=60)[1]
        assert process.returncode == 130, told
        assert 'Traceback' not in told
        assert told.splitlines()[-1] == 'octo-ros finetune: interrupted'
        assert not list(out.glob('state/*'))
    assert main(command) == 0
