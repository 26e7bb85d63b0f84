"""`OctoPolicy`: a checkpoint as what the control loop needs, numpy in and numpy out."""

import dataclasses
import logging
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from octo_ros.array_typing import UInt8
from octo_ros.errors import ObservationError
from octo_ros.errors import ParameterError
from octo_ros.errors import closest
from octo_ros.params import param
from octo_ros.policy import compiling
from octo_ros.policy import device
from octo_ros.policy import images
from octo_ros.policy.engine import Engine
from octo_ros.policy.engine import Variant
from octo_ros.policy.normalization import chosen_type
from octo_ros.policy.normalization import normalize
from octo_ros.policy.normalization import select_statistics
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.proprio import PROPRIO
from octo_ros.policy.proprio import VELOCITY
from octo_ros.policy.proprio import velocity
from octo_ros.policy.spec import describe
from octo_ros.policy.spec import goal_sizes
from octo_ros.policy.spec import other_image_inputs
from octo_ros.policy.spec import stacked_with
from octo_ros.policy.spec import vector_inputs
from octo_ros.policy.tasks import TaskEncoder
from octo_ros.policy.types import Inference
from octo_ros.policy.types import Task
from octo_ros.policy.types import Window

_LOGGER = logging.getLogger('octo_ros.policy')


@dataclasses.dataclass(frozen=True)
class PolicyParams:
    """Which checkpoint is used, and how."""

    checkpoint: str = param(
        '', 'Folder of the checkpoint, hf://owner/name[@revision] on the Hugging Face hub, or '
        'shipped, the policy for the simulator.')
    checkpoint_step: int = param(-1, 'Training step to load; -1: the latest.', ge=-1)
    statistics_key: str = param(
        '', 'Dataset of the checkpoint whose statistics un-normalise the actions; empty: its '
        'only one.')
    normalization_type: str = param(
        '', 'How the actions were normalised in training; empty: as the checkpoint says, normal '
        'if it says nothing.', one_of=('', 'normal', 'bounds'))
    head: str = param('action', 'Action head of the checkpoint.')
    seed: int = param(
        0, 'Start of the stream of random numbers, for ~/reset, too; one is used per inference.',
        ge=0, le=2**32 - 1, read_only=False)
    matmul_precision: str = param(
        compiling.FLOAT32, "Of products of matrices: float32, for the reference's numbers, or "
        'default, which is 0.8 ms faster on an H100 in Octo-Small, and rounds.',
        one_of=compiling.PRECISIONS)
    vocabulary: str = param(
        '', 'Sentencepiece file of the language model; empty: the one beside the checkpoint, in '
        "the hub's cache or on the hub.")
    image_sizes: tuple[str, ...] = param(
        (), 'Sizes that differ from those in the checkpoint, as KEY=HEIGHTxWIDTH.')
    image_crops: tuple[str, ...] = param(
        (), 'Centred crops that differ from those of the training, as KEY=SIDE with the part of '
        'each side that is kept; KEY=1 for no crop.')
    compilation_cache: str = param(
        '', "Folder for compiled programs; empty: octo_ros/compilation in the user's cache; "
        "'none': compile at every start.")
    gpu_memory_fraction: float = param(
        0.0, "Part of a GPU's memory to reserve at start; 0: take what is needed.", ge=0.0, le=1.0)


class OctoPolicy:
    """A model with image preprocessing, normalisation and a stream of random keys.

    Implements `types.Policy`. One thread infers; `check_task` and `preprocess` may be called from
    others meanwhile.
    """

    def __init__(self, model: OctoModel, params: PolicyParams | None = None) -> None:
        """Makes a policy of a model that is loaded.

        Args:
            model: the model.
            params: options; checkpoint, step and device settings are not looked at.

        Raises:
            ParameterError: statistics, normalisation, head or image options do not fit the
                checkpoint.
        """
        params = params or PolicyParams()
        entry = select_statistics(model.dataset_statistics, params.statistics_key)
        kind = chosen_type(model.config, params.normalization_type)
        self.model = model
        self.params = params
        self.spec = describe(
            model, entry['action'], normalization_type=kind, head=params.head,
            image_sizes=params.image_sizes)
        for key in other_image_inputs(model):
            _LOGGER.warning('%s is no image of 3 channels: depth is not supported, the policy '
                            'works without.', key)
        self.goal_sizes = goal_sizes(model, self.spec)
        self.crops = _crops(model.config, {**self.spec.image_sizes, **self.goal_sizes},
                            params.image_crops)
        self._statistics = entry
        self._kind = kind
        self._vectors = vector_inputs(model)
        self._engine = Engine(
            model, entry['action'], image_sizes=self.spec.image_sizes, goal_sizes=self.goal_sizes,
            normalization_type=kind, head=params.head, seed=params.seed,
            matmul_precision=params.matmul_precision)
        self._variant: Variant | None = None
        self._tasks = TaskEncoder(self.spec, self._engine, model.text_processor)

    @classmethod
    def load(cls, params: PolicyParams) -> 'OctoPolicy':
        """Loads a checkpoint onto the device.

        Raises:
            ParameterError: no checkpoint is named, or an option does not fit it.
            CheckpointError: it cannot be loaded.
        """
        if not params.checkpoint:
            raise ParameterError(
                "'checkpoint' must name a checkpoint, got nothing; set it to a folder or to "
                'hf://rail-berkeley/octo-small-1.5')
        device.set_up(
            gpu_memory_fraction=params.gpu_memory_fraction,
            compilation_cache=params.compilation_cache)
        step = None if params.checkpoint_step < 0 else params.checkpoint_step
        model = OctoModel.load_pretrained(
            params.checkpoint, step, vocabulary=params.vocabulary or None)
        _LOGGER.info('The random numbers start from seed %d.', params.seed)
        return cls(model, params)

    def prepare(
        self,
        image_keys: Sequence[str],
        *,
        window: int,
        proprio: bool = False,
        progress: Callable[[str], Any] | None = None,
    ) -> None:
        """Compiles and warms up for the mapped cameras.

        Args:
            image_keys: observation keys that have a camera.
            window: history steps.
            proprio: True when frames carry a proprio vector.
            progress: told what is being done.

        Raises:
            ParameterError: cameras, window or proprio do not fit the checkpoint.
        """
        say = progress or _LOGGER.info
        variant = self._checked_variant(image_keys, window, proprio)
        unused = [key for key in self.spec.image_sizes if key not in variant.image_keys]
        if unused:
            say(f'No camera is mapped to {", ".join(unused)}: the policy works without.')
        problem = self._tasks.find_vocabulary()
        if problem:
            say(f'Instructions cannot be used: {problem}')
        say(f'Compiling for {", ".join(variant.image_keys) or "no camera"} and {window} steps.')
        started = time.perf_counter()
        if self.spec.uses_language and self.model.text_processor is not None:
            self._engine.compile_language(self.model.text_processor.encode(['']))
        self._engine.compile(variant)
        say(f'Compiled in {time.perf_counter() - started:.1f} s.')
        self._variant = variant

    def preprocess(
        self, key: str, image: UInt8[np.ndarray, 'ih iw 3']
    ) -> UInt8[np.ndarray, 'oh ow 3']:
        """Resizes a camera image, or the goal image of a key, as in training.

        Raises:
            ObservationError: it is not a uint8 RGB image.
            TaskError: the policy takes neither an observation nor a goal of that key.
        """
        if key not in self.crops:
            self._tasks.check_key(key)
        size = self.spec.image_sizes.get(key) or self.goal_sizes[key]
        return images.preprocess(image, size, self.crops[key])

    def check_task(self, task: Task) -> list[str]:
        """Checks a task, quickly.

        Returns:
            Messages on what the policy will see as missing.

        Raises:
            TaskError: the task cannot be used.
        """
        return self._tasks.check(task, self._mapped())

    def encode_task(self, task: Task) -> Mapping[str, Any]:
        """Encodes a task for `infer`; the last few are remembered by their content.

        Raises:
            TaskError: the task cannot be used.
        """
        return self._tasks.encode(task)

    def infer(self, window: Window, task: Mapping[str, Any]) -> Inference:
        """Computes one chunk.

        Args:
            window: frames whose images went through `preprocess`.
            task: from `encode_task`.

        Raises:
            ParameterError: the policy is not prepared, or the window has another length.
            ObservationError: an image has the wrong size, or a proprio vector is unusable.
        """
        variant = self._variant
        before = self.spec.frames_before if variant is not None and variant.proprio else 0
        if variant is None or len(window.frames) != before + variant.window:
            raise ParameterError(
                'The policy must be prepared for the window it is given, got '
                f'{len(window.frames)} steps and {variant or "no preparation"}; call prepare, and '
                f'give {before} older frames before those of the window')
        started = time.perf_counter()
        proprio = self._proprio(window) if variant.proprio else None
        observations = self._engine.observations(
            [frame.images for frame in window.frames[before:]], variant, proprio)
        built = time.perf_counter()
        actions = self._engine.infer(
            variant, observations, task, window.timestep_pad_mask[before:])
        done = time.perf_counter()
        return Inference(actions, {'preprocess': built - started, 'model': done - built})

    def reset(self, seed: int | None = None) -> None:
        """Restarts the stream of random keys, from a new seed if one is given."""
        seed = self.params.seed if seed is None else seed
        _LOGGER.info('The random numbers start from seed %d.', seed)
        self._engine.reset(seed)

    @property
    def compilations(self) -> int:
        """Programs compiled so far."""
        return self._engine.compilations

    def _checked_variant(
        self, image_keys: Sequence[str], window: int, proprio: bool
    ) -> Variant:
        known = self.spec.image_sizes
        for key in image_keys:
            if key not in known:
                raise ParameterError(
                    f"A camera must be mapped to one of {', '.join(known) or 'no key'} with this "
                    f"checkpoint, got '{key}'{closest(key, known)}")
            missing = stacked_with(self.model, key) - set(image_keys)
            if missing:
                raise ParameterError(
                    f"'{key}' must be mapped together with {', '.join(sorted(missing))}: the "
                    f'checkpoint stacks them; got {", ".join(image_keys)}')
        if not 1 <= window <= self.spec.max_window:
            raise ParameterError(
                f"'window' must be 1 to {self.spec.max_window} with this checkpoint, got {window}")
        if proprio and not self.spec.proprio_dim:
            raise ParameterError('proprio must be off: this checkpoint takes none')
        lacking = [key for key in self._vectors if key not in self._statistics]
        if proprio and lacking:
            raise ParameterError(
                f'{lacking[0]} must have statistics in dataset_statistics.json, got none for '
                f"'{self.params.statistics_key}'; add them or turn proprio off")
        if not image_keys and not proprio:
            raise ParameterError(
                f'At least one camera must be mapped, to one of {", ".join(known)}; got none')
        ordered = tuple(key for key in known if key in image_keys)
        return Variant(ordered, window, proprio)

    def _mapped(self) -> tuple[str, ...]:
        return self._variant.image_keys if self._variant else tuple(self.spec.image_sizes)

    def _proprio(self, window: Window) -> dict[str, np.ndarray]:
        vectors = [frame.proprio for frame in window.frames]
        if any(vector is None for vector in vectors):
            raise ObservationError('A frame must carry a proprio vector, got none')
        stack = np.stack([np.asarray(vector, np.float64) for vector in vectors])
        if stack.shape[-1] != self.spec.proprio_dim:
            raise ObservationError(
                f'A proprio vector must have {self.spec.proprio_dim} numbers, got '
                f'{stack.shape[-1]}; correct the list of joint names')
        if not np.isfinite(stack).all():
            raise ObservationError('A proprio vector must be finite, got NaN or infinity')
        made = {PROPRIO: stack}
        if VELOCITY in self._vectors:
            made[VELOCITY] = velocity(stack, np.array([
                frame.stamp_ns if frame.proprio_ns is None else frame.proprio_ns
                for frame in window.frames]))
        return {key: normalize(made[key][self.spec.frames_before:], self._statistics[key],
                               self._kind) for key in self._vectors}


def _crops(
    config: Mapping[str, Any], keys: Mapping[str, Any], entries: Sequence[str]
) -> dict[str, images.Crop | None]:
    crops = {key: images.crop_for(config, key) for key in keys}
    for entry in entries:
        key, _, text = entry.partition('=')
        try:
            side = float(text)
        except ValueError:
            side = 0.0
        if key not in crops or not 0.0 < side <= 1.0:
            raise ParameterError(
                f"'image_crops' must hold KEY=SIDE with KEY one of {', '.join(crops)} and SIDE "
                f"above 0 and at most 1, got '{entry}'{closest(key, crops)}")
        crops[key] = None if side == 1.0 else (side, side)
    return crops
