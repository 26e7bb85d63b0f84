"""How often a policy in training does its tasks in the simulator."""

import argparse
import contextlib
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

from octo_ros.errors import OctoError
from octo_ros.errors import ParameterError
from octo_ros.errors import TaskError

if TYPE_CHECKING:
    from octo_ros.policy.octo_model import OctoModel
    from octo_ros.train.params import TrainParams

SIMULATED_ROBOT = 'viperx_sim'
_MOST_STEPS = 40  # as `octo-ros eval`
FIRST_SEED = 2_000_000  # neither those of `octo-ros record` nor those of `octo-ros eval`


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options to a parser."""
    group = parser.add_argument_group('closed loop', f'With --robot {SIMULATED_ROBOT} only.')
    group.add_argument('--closed-loop-every', type=int, default=0, metavar='STEPS',
                       help='test in the simulator at these steps and at the last (never)')
    group.add_argument('--closed-loop-episodes', type=int, default=5, metavar='N',
                       help='for each kind of task, told by language and by goal (5)')


def check_options(args: argparse.Namespace, params: 'TrainParams') -> None:
    """Raises OctoError when the test is wanted and cannot be run."""
    every = args.closed_loop_every
    if not every:
        return
    if args.robot != SIMULATED_ROBOT:
        raise ParameterError(f"--closed-loop-every must go with --robot {SIMULATED_ROBOT}, the "
                             f"robot of the simulator, got '{args.robot}'")
    if every < 0 or every % params.eval_every:
        raise ParameterError(
            f"--closed-loop-every must be a multiple of 'eval_every', which is "
            f'{params.eval_every}, got {every}')
    if args.closed_loop_episodes < 1:
        raise ParameterError(
            f'--closed-loop-episodes must be at least 1, got {args.closed_loop_episodes}')
    if not (importlib.util.find_spec('mujoco') and importlib.util.find_spec('gym_aloha')):
        raise OctoError("--closed-loop-every must have the simulator, got none; pip install "
                        "'octo_ros[sim]'")


class ClosedLoopTest:
    """A test for the training loop: success by condition and kind of task; a context manager."""

    def __init__(self, model: 'OctoModel', params: 'TrainParams', *, every: int, episodes: int,
                 statistics_key: str, max_steps: int = _MOST_STEPS) -> None:
        """Draws the scenes and starts the simulator.

        Args:
            model: the model in training; its parameters are not looked at.
            params: the run.
            every: steps from one test to the next, which are multiples of this.
            episodes: scenes for each condition and kind of task.
            statistics_key: name of the data set in the model's statistics, '' without.
            max_steps: policy steps after which a trial has failed.
        """
        from octo_ros.cli.record import named_tasks
        from octo_ros.sim.simulator import Simulator
        from octo_ros.sim.trials import make_trials

        conditions = ['goal'] if params.task.uses_goals else []
        if params.task.modality != 'image_conditioned' and model.text_processor is not None:
            conditions.insert(0, 'language')
        self._trials = make_trials(
            conditions, named_tasks([]), range(FIRST_SEED, FIRST_SEED + episodes))
        self._model = model
        self._params = params
        self._every = every
        self._statistics_key = statistics_key
        self._max_steps = max_steps
        self._sim = Simulator()

    def __enter__(self) -> 'ClosedLoopTest':
        return self

    def __exit__(self, *_error: object) -> None:
        self._sim.close()

    def __call__(self, params: Mapping[str, Any], step: int) -> dict[str, float]:
        """Tests a parameter tree; returns nothing at steps that are not tested."""
        from octo_ros.policy.profile import load_profile
        from octo_ros.sim.policy_session import PolicySession
        from octo_ros.sim.trials import figures

        if step % self._every and step != self._params.steps:
            return {}
        session = PolicySession(
            self._policy(params), load_profile(SIMULATED_ROBOT), sim=self._sim,
            max_steps=self._max_steps)
        outcomes = []
        for trial in self._trials:
            with contextlib.suppress(TaskError):  # a scene whose goal cannot be shown
                outcomes.append(session.run(trial))
        return {f'{row.condition}_{row.kind}': row.successes / row.trials
                for row in figures(outcomes)}

    def _policy(self, params: Mapping[str, Any]) -> Any:
        """Returns a policy with these parameters; what it encodes belongs to them."""
        import jax
        import numpy as np

        from octo_ros.policy.octo_model import OctoModel
        from octo_ros.policy.policy import OctoPolicy
        from octo_ros.policy.policy import PolicyParams

        here = jax.local_devices()[0]
        model = self._model
        return OctoPolicy(
            OctoModel(
                model.module,
                jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), here), dict(params)),
                model.config, model.example_batch, dataset_statistics=model.dataset_statistics,
                text_processor=model.text_processor),
            PolicyParams(statistics_key=self._statistics_key, seed=self._params.seed,
                         normalization_type=self._params.normalization_type))
