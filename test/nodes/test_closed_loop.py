"""Controller and simulator in lockstep over DDS, against the same without ROS."""

import importlib.util
import re

import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.bags.recording import ImageFormat
from octo_ros.errors import OctoError
from octo_ros.nodes.closed_loop import ClosedLoop
from octo_ros.nodes.closed_loop import LoopOptions
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams
from octo_ros.policy.profile import load_profile
from octo_ros.sim import gl
from octo_ros.sim.tasks import task_named
from octo_ros.sim.trials import Trial

if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
    pytest.skip("the extra 'sim' (mujoco, gym-aloha) is not installed", allow_module_level=True)
if gl.backend() == 'disable':
    pytest.skip('neither EGL nor OSMesa is installed', allow_module_level=True)

STEPS = 8
TRIAL = Trial('language', task_named('lift_red'), 1_000_003)


@pytest.fixture(scope='module')
def without_ros():
    """The views of a trial in one process, as JPEG."""
    from octo_ros.sim.policy_session import PolicySession
    frames = []
    policy = OctoPolicy.load(PolicyParams(checkpoint=str(shipped_checkpoint())))
    session = PolicySession(
        policy, load_profile('viperx_sim'), max_steps=STEPS,
        watch=lambda views: frames.append(ImageFormat().encode(views['primary']).tobytes()))
    outcome = session.run(TRIAL)
    session.close()
    return outcome, frames


def test_lockstep_sees_and_does_what_one_process_does_to_the_bit(without_ros, tmp_path):
    outcome, wanted = without_ros
    frames = []
    with ClosedLoop(
            LoopOptions(str(shipped_checkpoint()), tmp_path, max_steps=STEPS),
            watch=frames.append) as loop:
        over_ros = loop.run(TRIAL)
        seen = list(dict.fromkeys(frames))
        assert (over_ros.success, over_ros.steps, over_ros.chosen) == (
            outcome.success, outcome.steps, outcome.chosen)
        assert seen[:STEPS] == wanted
        assert len(set(wanted)) == STEPS  # the arm moves in every step
        again = loop.run(Trial('black', TRIAL.task, TRIAL.seed))
        assert again.steps == STEPS
        changed = Trial('changed', TRIAL.task, TRIAL.seed)
        assert loop.run(changed).steps == STEPS
        said = (tmp_path / 'controller.log').read_text()
        assert f'random numbers start from seed {TRIAL.seed}.' in said
        first, then = said.index(changed.first_told), said.rindex(changed.instruction)
        assert first < then


def test_real_time_runs_at_the_rate_of_the_robot(tmp_path):
    with ClosedLoop(LoopOptions(
            str(shipped_checkpoint()), tmp_path, max_steps=STEPS, real_time=True)) as loop:
        outcome = loop.run(TRIAL)
    assert outcome.steps == STEPS
    assert outcome.wall_s > 0.9 * STEPS * 0.2


def test_in_real_time_the_instruction_is_changed_after_policy_steps_not_after_states(tmp_path):
    trial = Trial('changed', TRIAL.task, TRIAL.seed)
    with ClosedLoop(LoopOptions(
            str(shipped_checkpoint()), tmp_path, max_steps=STEPS, real_time=True)) as loop:
        loop.run(trial)
    said = re.findall(r"\[(\d+\.\d+)\].*Instruction: '(.*?)'",
                      (tmp_path / 'controller.log').read_text())
    assert [text for _, text in said] == [trial.first_told, trial.instruction]
    assert float(said[1][0]) - float(said[0][0]) > 0.35  # two steps of 0.2 s between three


def test_a_controller_that_cannot_start_ends_the_session_with_its_last_words(tmp_path):
    with pytest.raises(OctoError, match='no_such_place'):
        ClosedLoop(LoopOptions(str(tmp_path / 'no_such_place'), tmp_path))
