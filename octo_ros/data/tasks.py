"""What an example asks for: a goal from its own future, or the instruction, never both.

Octo's rules: the goal is drawn evenly from the steps that follow (hindsight relabelling); then
either the goal images or the language are dropped, and language may be rephrased.
"""

import dataclasses

import numpy as np

from octo_ros.array_typing import Bool
from octo_ros.array_typing import Int
from octo_ros.params import param


@dataclasses.dataclass(frozen=True)
class TaskParams:
    """How training examples are given their task."""

    modality: str = param(
        'multimodal', 'What the policy is told: goal images, language, or one of the two by '
        'chance.', one_of=('image_conditioned', 'language_conditioned', 'multimodal'))
    keep_image_prob: float = param(
        0.5, 'Multimodal: part of the examples that keep the goal images and lose the language.',
        ge=0.0, le=1.0)
    rephrase_prob: float = param(
        0.5, 'Part of the examples whose instruction is drawn from its paraphrases, where there '
        'are any.', ge=0.0, le=1.0)
    max_goal_distance: int = param(
        0, 'Greatest number of policy steps to a goal image; 0: up to the end of the episode.',
        ge=0)

    @property
    def uses_goals(self) -> bool:
        """True when goal images are part of the task."""
        return self.modality != 'language_conditioned'

    @property
    def goal_share(self) -> float:
        """Part of the examples with goal images."""
        shares = {'image_conditioned': 1.0, 'language_conditioned': 0.0}
        return shares.get(self.modality, self.keep_image_prob)


@dataclasses.dataclass(frozen=True)
class Tasks:
    """Tasks of a batch of examples.

    Attributes:
        goal_steps: step of the goal within the episode; the last step where language is kept.
        keep_goal: True = goal images, False = language.
        instructions: which of the episode's instructions is used.
    """

    goal_steps: Int[np.ndarray, 'b']
    keep_goal: Bool[np.ndarray, 'b']
    instructions: Int[np.ndarray, 'b']


def draw_tasks(
    rng: np.random.Generator, params: TaskParams, steps: Int[np.ndarray, 'b'],
    lengths: Int[np.ndarray, 'b'], choices: Int[np.ndarray, 'b'],
) -> Tasks:
    """Draws the tasks of a batch; takes the same number of draws whatever the parameters.

    Args:
        rng: source of randomness.
        params: the rules.
        steps: newest step of each example.
        lengths: length of each example's episode.
        choices: number of instructions that each episode has; 0 = not labelled, the goal is kept.
    """
    where, drop, rephrase, which = rng.random((4, len(steps)))
    high = lengths if not params.max_goal_distance else np.minimum(
        lengths, steps + params.max_goal_distance)
    goal_steps = np.minimum((steps + where * (high - steps)).astype(np.int64), lengths - 1)
    keep_goal = np.full(len(steps), False)
    if params.uses_goals:
        keep_goal = (drop < params.goal_share) | (choices == 0)
    other = np.minimum((which * choices).astype(np.int64), np.maximum(choices - 1, 0))
    return Tasks(
        goal_steps=np.where(keep_goal, goal_steps, lengths - 1), keep_goal=keep_goal,
        instructions=np.where(rephrase < params.rephrase_prob, other, 0))
