"""The simulated scene with its task: what was asked for, how far it is, what came out."""

import json

from octo_ros.errors import TaskError
from octo_ros.nodes.sim_params import SimParams
from octo_ros.sim.randomization import sample_layout
from octo_ros.sim.rollout import SuccessTest
from octo_ros.sim.rollout import task_for_seed
from octo_ros.sim.rollout import wording
from octo_ros.sim.simulator import Simulator
from octo_ros.sim.tasks import chosen_block
from octo_ros.sim.tasks import possible
from octo_ros.sim.tasks import task_named


class World:
    """A simulator and a task in it. Use it in one thread.

    Attributes:
        sim: the simulator.
        task: what is to be done.
        seed: of the scene.
        steps: policy steps since the reset.
        success: True once the task was done.
    """

    def __init__(self, params: SimParams) -> None:
        """Loads the simulator and resets it to the seed and task of the parameters.

        Raises:
            ParameterError: a package is missing.
            TaskError: there is no such task, or it is not possible in this scene.
        """
        self._params = params
        self.sim = Simulator(params.scene, seed=params.seed)
        self.reset(params.seed, params.task)

    def reset(self, seed: int, task: str) -> str:
        """Sets up the scene of a seed; returns the state as JSON. Raises TaskError."""
        layout = sample_layout(seed, self._params.scene)
        chosen = task_named(task) if task else task_for_seed(seed, layout)
        if not possible(chosen, layout):
            raise TaskError(f"the task must be possible, but in the scene of seed {seed} another "
                            f"block is in the way of '{task}'; take another seed")
        self.sim.reset(seed)
        self.seed, self.task = seed, chosen
        self.steps, self.success, self.finished = 0, False, False
        self._start = self.sim.state()
        self._test = SuccessTest(chosen)
        self._test.update(self._start)
        return self.state()

    @property
    def instruction(self) -> str:
        """The task in words, chosen by the seed."""
        return wording(self.task, self.seed)

    def step_done(self) -> bool:
        """Notes that a policy step has passed; True when the episode has just been decided."""
        self.steps += 1
        if self.finished:
            return False
        self.success = self._test.update(self.sim.state())
        limit = self._params.max_steps
        self.finished = self.success or bool(limit and self.steps >= limit)
        return self.finished

    def state(self) -> str:
        """Returns seed, task, steps, success and the block that was chosen, as JSON."""
        return json.dumps({
            'seed': self.seed, 'task': self.task.name, 'instruction': self.instruction,
            'steps': self.steps, 'success': self.success, 'finished': self.finished,
            'chosen': chosen_block(self._start, self.sim.state()) or ''})
