"""From a model and an episode set to a trained checkpoint in the released layout."""

import dataclasses
import json
import logging
import sys
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from octo_ros import params as schema
from octo_ros.array_typing import Int
from octo_ros.checkpoint.merge import MergeReport
from octo_ros.checkpoint.merge import flatten
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.data.batches import BatchSource
from octo_ros.data.batches import BatchSpec
from octo_ros.data.instructions import Encode
from octo_ros.data.instructions import InstructionTable
from octo_ros.data.statistics import dataset_statistics
from octo_ros.data.store import EpisodeSet
from octo_ros.errors import DataError
from octo_ros.errors import ParameterError
from octo_ros.policy.compiling import with_precision
from octo_ros.policy.images import crop_for
from octo_ros.policy.octo_model import OctoModel
from octo_ros.train.adapt import ModelParams
from octo_ros.train.adapt import adapt_config
from octo_ros.train.adapt import augmentation_of
from octo_ros.train.adapt import check_image_sizes
from octo_ros.train.adapt import finetunes_language
from octo_ros.train.adapt import horizon_of
from octo_ros.train.adapt import lost_inputs
from octo_ros.train.adapt import no_augmentation
from octo_ros.train.adapt import record_run
from octo_ros.train.adapt import settle_vectors
from octo_ros.train.devices import Devices
from octo_ros.train.devices import is_first
from octo_ros.train.evaluate import Evaluator
from octo_ros.train.freezing import frozen_keys
from octo_ros.train.loop import Outcome
from octo_ros.train.loop import Setup
from octo_ros.train.loop import Test
from octo_ros.train.merging import begin_with_mean
from octo_ros.train.merging import begin_with_places
from octo_ros.train.merging import merged_model
from octo_ros.train.merging import untrained
from octo_ros.train.params import TrainParams

CHECKPOINT_FOLDER = 'checkpoint'
PARAMETERS_FILE = 'parameters.json'
MERGE_FILE = 'merged_parameters.txt'
_TEXTS_AT_ONCE = 64

_log = logging.getLogger('octo_ros.train')


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run that is ready to start.

    Attributes:
        model: the model with its parameters at the start and everything to save beside them.
        setup: what the loop takes.
        report: which parameters came from the checkpoint.
        evaluators: name of the task (`language`, `goal`) to the test on held-out episodes.
    """

    model: OctoModel
    setup: Setup
    report: MergeReport
    evaluators: Mapping[str, Evaluator]


def plan_finetune(base: OctoModel, episodes: EpisodeSet, model_params: ModelParams,
                  params: TrainParams, *, held_out: Sequence[int] = (), dataset: str | None = None,
                  action_mask: Sequence[bool] | None = None, devices: Devices | None = None,
                  tests: Mapping[str, Test] | None = None) -> Plan:
    """Fits a checkpoint to a data set and prepares its training.

    Args:
        base: the checkpoint, or a model made from scratch.
        episodes: the data, at the model's image sizes; a new camera's may be any.
        model_params: what of the model is changed.
        params: the run.
        held_out: episodes that are tested with and never trained with.
        dataset: name of the data set in the saved statistics; None saves them without a name.
        action_mask: which action dimensions are normalised; all when None.
        devices: where it runs; all devices when None.
        tests: further tests by name, see `Setup`.

    Raises:
        DataError, ParameterError, CheckpointError: model, data and run do not go together.
    """
    asked, model_params = model_params, settle_vectors(
        base.config, model_params, has_proprio=episodes.proprio is not None)
    if params.image_dropout and model_params.proprio != 'on':
        raise ParameterError("'image_dropout' must go with model.proprio=on: without images "
                             'there is nothing else to see; give image_dropout=0, or --proprio')
    check_image_sizes(base, episodes)
    devices = devices or Devices()
    subsets = _subsets(len(episodes), held_out)
    config = adapt_config(base.config, model_params, image_keys=tuple(episodes.image_sizes),
                          action_dim=episodes.actions.shape[1])
    _tell_of_lost(lost_inputs(base.config, config, asked))
    frozen = frozen_keys(params.mode, finetune_language=finetunes_language(config))
    keys = tuple(episodes.image_sizes)
    augmentation = augmentation_of(config, keys) if params.augment else no_augmentation(keys)
    config = record_run(
        config, params, frozen, image_sizes=episodes.image_sizes, augmentation=augmentation,
        action_dim=episodes.actions.shape[1])
    statistics = _statistics(
        episodes, subsets[0], action_mask, velocity=model_params.velocity == 'on')
    sources = _Sources(base, config, episodes, statistics, model_params, params)
    processor = base.text_processor if sources.language else None
    source = sources.make(subsets[0])
    example = _example(source, processor)
    model, report = merged_model(
        base, config, example, params.seed,
        lambda fresh: begin_with_places(
            begin_with_mean(fresh, source.mean_action), config, model_params.proprio_start),
        {dataset: statistics} if dataset else statistics, fresh_head=model_params.head != 'keep')
    _tell_of_untrained(untrained(model, report, frozen), params.mode)
    evaluators = _evaluators(model, sources, subsets[1], params, devices)
    setup = Setup(
        module=model.module, params=model.params, frozen_keys=frozen,
        source=sources.make(subsets[0], training=True),
        tests=_tests(evaluators) | dict(tests or {}),
        augmentation=augmentation if params.augment else {})
    return Plan(model, setup, report, evaluators)


def save_outcome(plan: Plan, outcome: Outcome, folder: Path) -> Path:
    """Saves the trained model in the released layout; returns the checkpoint's folder.

    With several processes only the first one writes.
    """
    target = folder / CHECKPOINT_FOLDER
    if not is_first() or (target / str(outcome.step)).exists():
        return target
    model = OctoModel(
        plan.model.module, outcome.params, plan.model.config, plan.model.example_batch,
        dataset_statistics=plan.model.dataset_statistics,
        text_processor=plan.model.text_processor, step=outcome.step)
    model.save_pretrained(outcome.step, target)
    return target


def write_parameters(folder: Path, groups: Mapping[str, Any]) -> None:
    """Notes the parameters of a run beside its results, in the first process.

    Args:
        folder: of the run.
        groups: prefix (`model.`) to parameters.
    """
    if not is_first():
        return
    folder.mkdir(parents=True, exist_ok=True)
    values = {prefix + name: value for prefix, group in groups.items()
              for name, value in schema.to_flat(group).items()}
    (folder / PARAMETERS_FILE).write_text(json.dumps(values, indent=1))


def merge_text(report: MergeReport, fresh: OctoModel, *, whole: bool = False) -> str:
    """Says what came from the checkpoint, what was dropped and what is fresh.

    Args:
        report: what the merging found.
        fresh: the merged model.
        whole: True to list every parameter, however many.
    """
    sizes = {path: int(np.prod(leaf.shape)) for path, leaf in flatten(fresh.params).items()}
    new = {*report.missing, *report.reshaped}
    taken = sum(size for path, size in sizes.items() if path not in new)
    lines = [f'{report.copied} parameter arrays ({taken:,} numbers) taken from the checkpoint, '
             f'{len(new)} fresh ({sum(sizes[path] for path in new):,} numbers), '
             f'{len(report.unexpected)} of the checkpoint dropped']
    if not report.exact:
        lines.append('(- fresh in the new model, + dropped from the checkpoint)')
        lines.append(report.text(sys.maxsize) if whole else report.text())
    return '\n'.join(lines)


class _Sources:
    """Makes batch sources that share their encoded instructions and statistics."""

    def __init__(self, base: OctoModel, config: Mapping[str, Any], episodes: EpisodeSet,
                 statistics: Mapping[str, Any], model_params: ModelParams, params: TrainParams
                 ) -> None:
        self.language = bool(config['model']['task_tokenizers']) and bool(base.text_processor)
        self._episodes = episodes
        self._statistics = statistics
        self._params = params
        self._spec = BatchSpec(
            batch_size=params.batch_size, window=config['window_size'],
            action_horizon=horizon_of(config), action_dim=episodes.actions.shape[1],
            proprio=model_params.proprio == 'on', velocity=model_params.velocity == 'on',
            normalization_type=params.normalization_type, language=self.language)
        texts = [entry['instructions'] for entry in episodes.entries]
        needs_language = params.task.modality == 'language_conditioned'
        if needs_language and not any(text.strip() for group in texts for text in group):
            raise DataError(f'{episodes.path}: must have instructions to train with language, got '
                            'none; use the modality image_conditioned, or add them')
        self._table = InstructionTable(texts, _encoder(base, config))

    def make(self, subset: Int[np.ndarray, 'k'], *, training: bool = False) -> BatchSource:
        params = self._params
        options: dict[str, Any] = {} if not training else {
            'shard': (jax.process_index(), jax.process_count()),
            'openings': (params.opening_steps, params.opening_visits),
            'contrast': params.contrast, 'proprio_noise': params.proprio_noise,
            'image_dropout': params.image_dropout,
            'frame_rows': params.frames_on_device}
        return BatchSource(
            self._episodes, self._statistics, self._spec, params.task, self._table,
            seed=params.seed, subset=subset, **options)


def _encoder(base: OctoModel, config: Mapping[str, Any]) -> Encode:
    """Returns ids for a language model that learns, and embeddings of one that does not.

    A frozen language model, the larger part of Octo, thereby runs once per text of the data and
    not in every step.
    """
    processor = base.text_processor
    if processor is None:
        return lambda texts: np.zeros((len(texts), 0))
    if finetunes_language(config):
        return processor.encode
    module = build_module(config['model'], params_shapes=base.params)
    run = jax.jit(with_precision(lambda params, ids: module.apply(
        {'params': params}, {'language_instruction': ids}, method='encode_language')))

    def encode(texts: Sequence[str]) -> Any:
        parts = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            part = list(texts[start:start + _TEXTS_AT_ONCE])
            padded = part + [''] * (min(_TEXTS_AT_ONCE, len(texts)) - len(part))
            values = run(base.params, processor.encode(padded))
            parts.append(jax.tree.map(np.asarray, values))
        return jax.tree.map(lambda *values: np.concatenate(values)[:len(texts)], *parts)

    return encode


def _tell_of_lost(keys: Sequence[str]) -> None:
    if not keys or not is_first():
        return
    options = [f"--camera {key.removeprefix('image_')}=TOPIC" if key.startswith('image_')
               else '--state TOPIC' for key in keys]
    _log.warning('the checkpoint was trained with %s, which the data lack, and is to do without; '
                 'where recordings have them, %s finds them there', ' and '.join(keys),
                 ' '.join(dict.fromkeys(options)))


def _tell_of_untrained(paths: Sequence[str], mode: str) -> None:
    if paths and is_first():
        _log.warning('--mode %s does not train %s, which are fresh: they stay random; '
                     'train them with --mode full, or leave out what brings them', mode,
                     ', '.join(paths))


def _subsets(count: int, held_out: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    wrong = [index for index in held_out if not 0 <= index < count]
    if wrong:
        raise DataError(f'held-out episodes must be from 0 to {count - 1}, got {wrong}')
    test = np.array(sorted(set(held_out)), np.int64)
    return np.setdiff1d(np.arange(count), test), test


def _statistics(episodes: EpisodeSet, subset: np.ndarray, mask: Sequence[bool] | None, *,
                velocity: bool) -> dict[str, Any]:
    if not len(subset):
        raise DataError(f'{episodes.path}: at least one episode must be trained with, got none')
    rows = np.concatenate([
        np.arange(episodes.starts[index], episodes.starts[index] + episodes.lengths[index])
        for index in subset])
    vectors = {key: values[rows] for key, values in episodes.vectors(velocity=velocity).items()}
    return dataset_statistics(episodes.actions[rows], vectors, len(subset), mask)


def _example(source: BatchSource, processor: Any) -> dict[str, Any]:
    """Returns a batch of one as a checkpoint holds it: token ids, and goals for every camera."""
    rows = np.zeros(1, np.int64)
    batch = source.in_order(rows, goal=True)
    if processor is not None:
        batch['task']['language_instruction'] = processor.encode([''])
    return batch


def _evaluators(model: OctoModel, sources: _Sources, subset: np.ndarray, params: TrainParams,
                devices: Devices) -> dict[str, Evaluator]:
    if not len(subset):
        return {}
    source = sources.make(subset)
    crops = {key: crop_for(model.config, key) for key in model.example_batch['observation']
             if key.startswith('image_')}
    modality = params.task.modality
    tasks = {'language': False} if modality != 'image_conditioned' and sources.language else {}
    tasks |= {'goal': True} if modality != 'language_conditioned' else {}
    return {name: Evaluator(
        model.module, source, crops, goal=goal, samples=params.eval_samples,
        steps=params.eval_steps, seed=params.seed, devices=devices)
        for name, goal in tasks.items()}


def _tests(evaluators: Mapping[str, Evaluator]) -> dict[str, Test]:
    def make(evaluator: Evaluator) -> Test:
        def test(params: Mapping[str, Any], step: int) -> Mapping[str, float]:
            report = evaluator(params)
            return {'error': report.error, 'next_error': report.next_error} | {
                f'error_{index}': float(value) for index, value in enumerate(report.per_dimension)}

        return test

    return {f'held_out_{name}': make(evaluator) for name, evaluator in evaluators.items()}
