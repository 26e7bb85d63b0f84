"""Policy and simulator in one process."""

import dataclasses

import numpy as np
import pytest

from octo_ros.errors import ObservationError
from octo_ros.policy.control_loop import LoopParams
from octo_ros.policy.fakes import DEFAULT_SPEC
from octo_ros.policy.fakes import FakePolicy
from octo_ros.policy.profile import load_profile
from octo_ros.policy.types import Inference
from octo_ros.sim.expert import expert_action
from octo_ros.sim.policy_session import PolicySession
from octo_ros.sim.rollout import Job
from octo_ros.sim.rollout import expert_actor
from octo_ros.sim.rollout import run_episode
from octo_ros.sim.tasks import task_named
from octo_ros.sim.trials import Trial

REACH = task_named('reach_green')
PROFILE = load_profile('viperx_sim')


class Cheat(FakePolicy):
    """Looks at the true state and answers with the expert's action, one step a chunk."""

    def __init__(self, sim, task):
        super().__init__(dataclasses.replace(DEFAULT_SPEC, action_horizon=1))
        self._sim, self._task = sim, task

    def infer(self, window, task):
        self.windows.append(window)
        return Inference(expert_action(self._task, self._sim.state())[None])


def test_the_experts_actions_do_the_task_through_the_runtime_as_without(drawing_sim):
    session = PolicySession(Cheat(drawing_sim, REACH), PROFILE, sim=drawing_sim)
    outcome = session.run(Trial('language', REACH, 7))
    plain = run_episode(drawing_sim, Job(REACH, 7), expert_actor(REACH), settle_steps=0)
    assert outcome.success
    assert outcome.chosen == 'green'
    assert not outcome.wrong_colour
    assert outcome.steps == len(plain)


def test_the_policy_sees_the_views_of_the_step_and_of_the_one_before(drawing_sim):
    seen = []
    policy = Cheat(drawing_sim, REACH)
    session = PolicySession(policy, PROFILE, sim=drawing_sim, max_steps=3, watch=seen.append)
    session.run(Trial('language', REACH, 7))
    masks = [window.timestep_pad_mask.tolist() for window in policy.windows]
    assert masks == [[False, True], [True, True], [True, True]]
    for step, window in enumerate(policy.windows):
        small = policy.preprocess('image_primary', seen[step]['primary'])
        np.testing.assert_array_equal(window.frames[-1].images['image_primary'], small)


@pytest.mark.parametrize(('condition', 'brightness'), [('goal', 50), ('black', 0)])
def test_goal_images_are_those_of_the_solved_scene_or_black(drawing_sim, condition, brightness):
    policy = FakePolicy()
    session = PolicySession(policy, PROFILE, sim=drawing_sim, max_steps=1)
    session.run(Trial(condition, REACH, 7))
    task = policy.tasks[-1]
    assert task.text is None
    assert set(task.goals) == {'image_primary', 'image_wrist'}
    assert (task.goals['image_primary'].mean() > brightness) == bool(brightness)


def test_the_instruction_is_changed_on_the_way(drawing_sim):
    policy = FakePolicy()
    session = PolicySession(policy, PROFILE, sim=drawing_sim, max_steps=5,
                            loop=LoopParams(execute_steps=1))
    trial = Trial('changed', REACH, 7)
    session.run(trial)
    assert [task.text for task in policy.tasks] == 3 * [trial.first_told] + 2 * [trial.instruction]


def test_a_trial_does_not_depend_on_those_before(drawing_sim):
    session = PolicySession(FakePolicy(), PROFILE, sim=drawing_sim, max_steps=4)
    first, other = Trial('language', REACH, 7), Trial('goal', task_named('lift_red'), 8)

    def positions(trial):
        session.run(trial)
        return drawing_sim.state().ee_position

    before = positions(first)
    session.run(other)
    np.testing.assert_array_equal(positions(first), before)


def test_a_policy_that_gives_nothing_ends_the_trial_with_the_reason(drawing_sim):
    def fail(_window):
        raise ObservationError('the picture must show something, got fog')

    session = PolicySession(FakePolicy(before_infer=fail), PROFILE, sim=drawing_sim)
    with pytest.raises(ObservationError, match='fog'):
        session.run(Trial('language', REACH, 7))


def test_a_policy_that_takes_proprio_is_given_the_measured_state(drawing_sim):
    policy = FakePolicy(dataclasses.replace(DEFAULT_SPEC, proprio_dim=7))
    PolicySession(policy, PROFILE, sim=drawing_sim, max_steps=1).run(Trial('language', REACH, 7))
    drawing_sim.reset(7)
    np.testing.assert_allclose(
        policy.windows[0].frames[-1].proprio, drawing_sim.observe(()).proprio, atol=1e-6)
