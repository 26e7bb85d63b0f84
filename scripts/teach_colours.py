#!/usr/bin/env python3
"""Teaches a new tokenizer which block a colour means, and adds it to a policy.

    python scripts/teach_colours.py CHECKPOINT OUT

It is a step on the way to the shipped policy (`make policy`). A policy that moves well, but has
never listened, sees no reason to: it guesses a block, and what a word adds is lost in noise. A
student of two layers that has nothing else to look at learns it in minutes: it sees only the
first frame of a scene, through a tokenizer that the instruction conditions
(`model.instructed`), and is told to reach each of the three blocks in the same batch. Its
tokenizer then joins the policy; `octo-ros finetune OUT` teaches the policy to use it.

The scenes begin at seed 3,000,000, apart from those of recordings and of `octo-ros eval`. The
same seed gives the same weights on the same machine and library versions.
"""

import argparse
import contextlib
import copy
import functools
import multiprocessing
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import track

from octo_ros import OctoModel
from octo_ros.checkpoint.merge import merge_params
from octo_ros.checkpoint.spec_registry import build_module
from octo_ros.policy.images import preprocess
from octo_ros.policy.normalization import normalize
from octo_ros.sim.scene import COLOURS
from octo_ros.train.adapt import instructed_tokenizer
from octo_ros.train.adapt import with_pieces

FIRST_SEED = 3_000_000
NAME = 'primary_instructed'
KEYS = ('image_primary', 'proprio')
SCENES_AT_ONCE = 5  # few, so that there are many steps: it is they that break the guessing
LEARNING_RATE = 1e-3
HELD_OUT = 200  # scenes, the first ones, to examine the student with
ENOUGH = 0.95  # of them; blocks side by side are worth nearly the same motion
Scenes = dict[str, np.ndarray]


def draw_scenes(seeds: Sequence[int], size: tuple[int, int]) -> Scenes:
    """Returns frames (n, ih, iw, 3), proprio (n, 7) and the expert's actions (n, 3, 7)."""
    from octo_ros.sim.expert import expert_action
    from octo_ros.sim.simulator import Simulator
    from octo_ros.sim.tasks import Task

    rows: dict[str, list[np.ndarray]] = {'image_primary': [], 'proprio': [], 'action': []}
    rng = np.random.default_rng(seeds[0])
    with contextlib.closing(Simulator(None)) as sim:
        for seed in seeds:
            sim.reset(seed)
            place = rng.uniform([0.22, -0.16, 0.10], [0.40, 0.16, 0.22])
            for _ in range(rng.integers(0, 7)):
                way = place - sim.state().target_position
                distance = float(np.linalg.norm(way))
                if distance < 0.01:
                    break
                sim.step(np.array([*way * min(1.0, 0.05 / distance), 0.0, 0.0, 0.0, 1.0]))
            seen, state = sim.observe(('primary',)), sim.state()
            rows['image_primary'].append(preprocess(seen.images['primary'], size))
            rows['proprio'].append(seen.proprio)
            rows['action'].append(np.stack([
                expert_action(Task('reach', colour), state) for colour in COLOURS]))
    return {key: np.stack(values) for key, values in rows.items()}


class Lessons:
    """Batches of some scenes, each told with every colour."""

    def __init__(self, base: OctoModel, scenes: Scenes) -> None:
        """Normalises the numbers and encodes every wording of every task."""
        from octo_ros.sim.tasks import all_tasks

        statistics = base.dataset_statistics
        self.scenes = {
            'image_primary': scenes['image_primary'],
            'proprio': normalize(scenes['proprio'], statistics['proprio'], 'normal'),
            'action': normalize(scenes['action'], statistics['action'], 'normal')}
        texts = list(dict.fromkeys(
            text for task in all_tasks() for text in task.instructions()))
        self.count = len(scenes['action'])
        self.ids = base.text_processor.encode(texts)
        self.of_colour = [np.array([row for row, text in enumerate(texts) if colour in text])
                          for colour in COLOURS]
        goals = [key for key in base.example_batch['task'] if key.startswith('image_')]
        self.no_goals = {key: np.zeros(base.example_batch['task'][key].shape[1:], np.uint8)
                         for key in goals}
        self.horizon = base.config['model']['heads']['action']['kwargs']['action_horizon']

    def batch(self, chosen: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        """Returns an example for each colour of each chosen scene."""
        rows = np.repeat(chosen, len(COLOURS))
        colours = np.tile(np.arange(len(COLOURS)), len(chosen))
        words = np.array([rng.choice(self.of_colour[colour]) for colour in colours])
        valid = np.ones((len(rows), 1), bool)
        observation = {key: self.scenes[key][rows][:, None] for key in KEYS}
        task = {key: np.broadcast_to(goal, (len(rows), *goal.shape))
                for key, goal in self.no_goals.items()}
        masks = {key: np.zeros(len(rows), bool) for key in task}
        action = np.repeat(self.scenes['action'][rows, colours][:, None, None], self.horizon, 2)
        return {
            'observations': observation | {'pad_mask_dict': dict.fromkeys(KEYS, valid)},
            'tasks': task | {
                'language_instruction': {name: ids[words] for name, ids in self.ids.items()},
                'pad_mask_dict': masks | {'language_instruction': valid[:, 0]}},
            'actions': action.astype(np.float32), 'timestep_pad_mask': valid,
            'action_pad_mask': np.ones(action.shape, bool)}


    def right(self, answers: np.ndarray) -> float:
        """Returns how often answers (n, 7) to the examination go for the block that was told."""
        told = self.scenes['action'][:len(answers) // len(COLOURS), :, :2]
        given = answers[:, :2].reshape(-1, len(COLOURS), 1, 2)
        nearest = np.linalg.norm(given - told[:, None], axis=-1).argmin(axis=-1)
        return float((nearest == np.arange(len(COLOURS))).mean())


def student_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the policy's config with two layers and the new tokenizer for its only eye."""
    student = copy.deepcopy(dict(config['model']))
    student['observation_tokenizers'] = {
        NAME: instructed_tokenizer('image_primary'),
        'proprio': student['observation_tokenizers']['proprio']}
    student['transformer_kwargs'] |= {'num_layers': 2, 'mlp_dim': 256}
    student['task_tokenizers']['language']['kwargs']['finetune_encoder'] = False
    return student


def teach(base: OctoModel, lessons: Lessons, most: int) -> Mapping[str, Any]:
    """Returns the parameters of a student that listens, after `most` steps at most."""
    module = build_module(student_config(base.config), params_shapes=base.params)
    rng = np.random.default_rng(0)
    examination = lessons.batch(np.arange(min(HELD_OUT, lessons.count)), rng)
    fresh = jax.jit(module.init)(jax.random.key(0), *(
        examination[name] for name in ('observations', 'tasks', 'timestep_pad_mask')))['params']
    params, _ = merge_params(fresh, base.params)
    schedule = optax.join_schedules(
        [optax.linear_schedule(0.0, LEARNING_RATE, 100), optax.constant_schedule(LEARNING_RATE)],
        [100])
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.01))

    def loss(params: Any, batch: Mapping[str, Any], key: jax.Array) -> jax.Array:
        value, _ = module.apply({'params': params}, **batch, train=True, method='loss',
                                rngs={'dropout': key})
        return value

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, batch: Mapping[str, Any], key: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(params, batch, key)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    @jax.jit
    def answer(params: Any, batch: Mapping[str, Any]) -> jax.Array:
        inputs = (batch[name] for name in ('observations', 'tasks', 'timestep_pad_mask'))
        return module.apply({'params': params}, *inputs, method='sample_actions',
                            rng=jax.random.key(0))[..., 0, :]

    params = jax.tree.map(jnp.copy, params)  # a step uses up what it is given
    state, losses = optimizer.init(params), []
    for number in range(1, most + 1):
        batch = lessons.batch(rng.integers(HELD_OUT, lessons.count, SCENES_AT_ONCE), rng)
        params, state, value = step(params, state, batch, jax.random.key(number))
        losses.append(value)
        if number % 250 == 0:
            right = lessons.right(np.asarray(answer(params, examination)).reshape(-1, 7))
            print(f'step {number}: loss {np.mean(losses):.2f}, right block {right:.0%}',
                  flush=True)
            losses.clear()
            if right >= ENOUGH:
                return params
    raise SystemExit(f'the student was to go for the right block in {ENOUGH:.0%} of the scenes '
                     f'after {most} steps; give more --steps')


def join(base: OctoModel, student: Mapping[str, Any]) -> OctoModel:
    """Returns the policy with the student's tokenizer, before the tokens of proprio."""
    config = copy.deepcopy(dict(base.config))
    tokenizers = config['model']['observation_tokenizers']
    proprio = tokenizers.pop('proprio')
    tokenizers |= {NAME: instructed_tokenizer('image_primary'), 'proprio': proprio}
    module = build_module(config['model'], params_shapes=base.params)
    example = with_pieces(base.example_batch, module)
    shapes = jax.eval_shape(
        module.init, jax.random.key(0), example['observation'], example['task'],
        example['observation']['timestep_pad_mask'])['params']
    added = {'octo_transformer': {
        name: value for name, value in student['octo_transformer'].items() if NAME in name}}
    whole = {**base.params, 'octo_transformer': {
        **base.params['octo_transformer'], **added['octo_transformer']}}
    params, report = merge_params(shapes, whole)
    if not report.exact:
        raise SystemExit(f'the tokenizer does not fit the policy: {report}')
    return OctoModel(module, params, config, example,
                     dataset_statistics=base.dataset_statistics,
                     text_processor=base.text_processor, step=base.step)


def main() -> None:
    """Draws the scenes, teaches, and saves the policy with its new tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('checkpoint', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--scenes', type=int, default=12_000, help='(12000)')
    parser.add_argument('--steps', type=int, default=30_000, help='at most (30000)')
    parser.add_argument('--processes', type=int, default=2, help='that draw scenes (2)')
    args = parser.parse_args()
    if args.scenes <= HELD_OUT:
        parser.error(f'--scenes must be more than the {HELD_OUT} that are held out, got '
                     f'{args.scenes}')
    base = OctoModel.load_pretrained(args.checkpoint)
    size = base.example_batch['observation']['image_primary'].shape[2:4]
    seeds = range(FIRST_SEED, FIRST_SEED + args.scenes)
    parts = [seeds[start:start + 500] for start in range(0, args.scenes, 500)]
    with multiprocessing.get_context('spawn').Pool(args.processes) as pool:
        drawn = list(track(pool.imap(functools.partial(draw_scenes, size=size), parts),
                           'Drawing', total=len(parts)))
    scenes = {key: np.concatenate([part[key] for part in drawn]) for key in drawn[0]}
    student = teach(base, Lessons(base, scenes), args.steps)
    join(base, student).save_pretrained(base.step, args.out)


if __name__ == '__main__':
    main()
