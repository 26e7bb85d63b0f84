"""What an inference runs: float32 where JAX by itself would round, and no slow search on a GPU."""

import jax
import numpy as np
import pytest

from octo_ros.assets import shipped_checkpoint
from octo_ros.errors import ParameterError
from octo_ros.model.octo import OctoModule
from octo_ros.params import from_flat
from octo_ros.policy.compiling import compiled
from octo_ros.policy.compiling import compiler_options
from octo_ros.policy.compiling import with_precision
from octo_ros.policy.octo_model import OctoModel
from octo_ros.policy.policy import OctoPolicy
from octo_ros.policy.policy import PolicyParams

METHODS = ('encode_language', 'sample_actions', 'loss')


@pytest.fixture
def traced(monkeypatch):
    """The precision in force whenever a method of the model is traced, as (method, precision)."""
    seen = set()

    def recording(name, method):
        def record(self, *args, **kwargs):
            seen.add((name, jax.config.jax_default_matmul_precision))
            return method(self, *args, **kwargs)

        return record

    for name in METHODS:
        monkeypatch.setattr(OctoModule, name, recording(name, getattr(OctoModule, name)))
    return seen


@pytest.mark.parametrize('precision', ['float32', 'default'])
def test_the_policy_computes_language_and_actions_as_told(traced, precision):
    policy = OctoPolicy.load(PolicyParams(
        checkpoint=str(shipped_checkpoint()), compilation_cache='none',
        matmul_precision=precision))
    policy.prepare(tuple(policy.spec.image_sizes), window=1, proprio=False)
    assert {('encode_language', precision), ('sample_actions', precision)} <= traced
    assert {found for _, found in traced} == {precision}


def test_the_model_computes_in_float32_unless_jax_is_told_otherwise(traced):
    model = OctoModel.load_pretrained(shipped_checkpoint())
    inputs = model.example_batch['observation'], model.create_tasks(texts=['reach'])
    model.sample_actions(*inputs, rng=jax.random.key(0))
    model.loss(model.example_batch, rng=jax.random.key(0))
    assert {precision for _, precision in traced} == {'float32'}
    assert {'sample_actions', 'loss'} <= {name for name, _ in traced}
    traced.clear()
    with jax.default_matmul_precision('bfloat16'):
        model.sample_actions(*inputs, rng=jax.random.key(0))
    assert traced == {('sample_actions', 'bfloat16')}


def test_compiled_products_ask_the_device_for_the_precision():
    def product(left, right):
        return left @ right

    square = np.ones((2, 2), np.float32)
    exact, quick = (jax.jit(with_precision(product, precision)).lower(square, square).as_text()
                    for precision in ('float32', 'default'))
    assert 'HIGHEST' in exact
    assert 'HIGHEST' not in quick


def test_an_unknown_precision_is_refused():
    with pytest.raises(ParameterError, match="'matmul_precision' must be one of"):
        from_flat(PolicyParams, {'matmul_precision': 'float16'}, source='test')


def test_xla_knows_the_options_and_users_may_set_them(monkeypatch):
    assert compiler_options() == {}
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert compiler_options() == {'xla_gpu_enable_triton_gemm': False}
    double = compiled(lambda x: x + x)
    assert double.lower(1.5).compile()(1.5) == 3.0  # fails for an option that XLA does not know
    monkeypatch.setenv('XLA_FLAGS', '--xla_gpu_enable_triton_gemm=true')
    assert compiler_options() == {}


def test_a_model_can_be_sampled_within_a_jit_of_ones_own(monkeypatch):
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    model = OctoModel.load_pretrained(shipped_checkpoint())
    observation, tasks = model.example_batch['observation'], model.create_tasks(texts=['reach'])
    key = jax.random.key(0)
    sample = jax.jit(lambda observation: model.sample_actions(observation, tasks, rng=key))
    np.testing.assert_allclose(
        sample(observation), model.sample_actions(observation, tasks, rng=key), atol=1e-5)
