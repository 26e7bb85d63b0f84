"""How well a policy predicts the actions of episodes that it was not trained with."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from octo_ros.array_typing import Array
from octo_ros.array_typing import Bool
from octo_ros.array_typing import Float
from octo_ros.data.batches import BatchSource
from octo_ros.model.octo import OctoModule
from octo_ros.policy.compiling import FLOAT32
from octo_ros.policy.compiling import with_precision
from octo_ros.policy.images import Crop
from octo_ros.policy.images import preprocess
from octo_ros.train.devices import Devices
from octo_ros.train.devices import compile_everywhere


@dataclasses.dataclass(frozen=True)
class Report:
    """Errors of predicted action chunks, in units of the deviation of each dimension.

    A dimension counts by the variance of its recorded actions in the held-out steps, so 1 is what
    a policy gets that always answers with their mean.

    Attributes:
        error: mean over dimensions of the squared error by the squared error of the baseline,
            which answers with the mean action of the training data. Below 1 is better than that.
        next_error: the same of the first action of each chunk alone, the next one to be done.
        per_dimension: `error` by dimension.
        absolute: mean absolute error by dimension [normalised action].
        predicted: answers by held-out step, first action of the chunk [normalised action].
        recorded: what was done [normalised action].
    """

    error: float
    next_error: float
    per_dimension: Float[np.ndarray, 'ad']
    absolute: Float[np.ndarray, 'ad']
    predicted: Float[np.ndarray, 'n ad']
    recorded: Float[np.ndarray, 'n ad']


class Evaluator:
    """Predicts chunks for held-out steps, as the policy would at run time.

    Frames get the centred crop of run time in place of the random one; a chunk is the mean of
    several samples, since the baseline answers with a mean, too.
    """

    def __init__(self, module: OctoModule, source: BatchSource, crops: Mapping[str, Crop | None],
                 *, goal: bool, samples: int, steps: int, seed: int, devices: Devices) -> None:
        """Gathers the steps once.

        Args:
            module: the model.
            source: the held-out episodes.
            crops: observation key to the crop of run time.
            goal: True to give the last frames as the task, False for the instruction.
            samples: chunks drawn for each step.
            steps: greatest number of steps; they are spread evenly over the episodes.
            seed: of the noise, the same in every test.
            devices: where it runs.
        """
        size = source.spec.batch_size
        count = min(steps, source.examples)
        rows = np.linspace(0, source.examples - 1, count).astype(np.int64)
        # Whole batches only, so that the function compiles once; the last one repeats its end.
        padded = np.pad(rows, (0, -count % size), mode='edge')
        self._count = count
        self._batches = [_cropped(source.in_order(part, goal=goal), crops)
                         for part in np.split(padded, len(padded) // size)]
        self._devices = devices
        self._seed = seed
        self._mean = source.mean_action

        def predict(params: Any, batch: Any, key: Array) -> Array:
            chunks: Any = module.apply(
                {'params': params}, batch['observation'], batch['task'],
                batch['observation']['timestep_pad_mask'], method='sample_actions', rng=key,
                sample_shape=(samples,))
            return jnp.mean(chunks, axis=0)

        self._jitted = jax.jit(with_precision(predict, FLOAT32), out_shardings=devices.shared)
        self._predict: Callable[..., Array] | None = None
        self._goal = goal

    def __call__(self, params: Mapping[str, Any]) -> Report:
        """Tests a parameter tree."""
        chunks = []
        for number, batch in enumerate(self._batches):
            key = jax.random.fold_in(jax.random.key(self._seed), number)
            placed = self._devices.put_rows(
                {name: batch[name] for name in ('observation', 'task')})
            if self._predict is None:
                self._predict = compile_everywhere(
                    f'test with goal: {self._goal}', self._jitted, params, placed, key)
            chunks.append(np.asarray(self._predict(params, placed, key)))
        predicted = np.concatenate(chunks)[:self._count]
        recorded = np.concatenate([batch['action'][:, -1] for batch in self._batches])
        mask = np.concatenate([batch['action_pad_mask'][:, -1] for batch in self._batches])
        return compare(predicted, recorded[:self._count], mask[:self._count], self._mean)


def compare(predicted: Float[np.ndarray, 'n ah ad'], recorded: Float[np.ndarray, 'n ah ad'],
            mask: Bool[np.ndarray, 'n ah ad'], mean: Float[np.ndarray, 'ad']) -> Report:
    """Compares chunks with what was recorded.

    Args:
        predicted: chunks that a policy gave.
        recorded: chunks of the data.
        mask: True where these are real, not beyond the end of the episode or of the dimensions.
        mean: what the baseline always answers.
    """
    real = mask.any(axis=(0, 1))
    predicted, recorded, mask, mean = (
        array[..., real] for array in (predicted, recorded, mask, mean))

    def average(values: np.ndarray, steps: slice = slice(None)) -> np.ndarray:
        seen = mask[:, steps]
        return (values[:, steps] * seen).sum(axis=(0, 1)) / np.maximum(seen.sum(axis=(0, 1)), 1)

    def ratio(steps: slice) -> np.ndarray:
        return (average((predicted - recorded) ** 2, steps)
                / np.maximum(average((mean - recorded) ** 2, steps), 1e-8))

    whole, first = ratio(slice(None)), ratio(slice(1))
    return Report(float(whole.mean()), float(first.mean()), whole,
                  average(np.abs(predicted - recorded)), predicted[:, 0], recorded[:, 0])


def _cropped(batch: dict[str, Any], crops: Mapping[str, Crop | None]) -> dict[str, Any]:
    """Takes the crop of run time from every image of a batch."""
    for part in (batch['observation'], batch['task']):
        for key, crop in crops.items():
            if key in part and crop is not None:
                frames = part[key]
                flat = frames.reshape(-1, *frames.shape[-3:])
                part[key] = np.stack([
                    preprocess(frame, frames.shape[-3:-1], crop) for frame in flat
                ]).reshape(frames.shape)
    return batch
