"""Tells the reference the sizes and the vocabulary of a language model that the hub lacks.

The reference asks transformers' `from_pretrained` for them, by the name of the language model.
That looks for a folder of this name in the current directory before it asks the hub. Such a folder
lies in the checkpoint, so the reference runs the checkpoint from within it.
"""

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from octo_ros.model import t5


def own_language(config: Mapping[str, Any], params: Mapping[str, Any]
                 ) -> tuple[str, t5.T5Sizes] | None:
    """Returns the name and the sizes of the T5 of a model, or None.

    None stands for a model without one, and for a name that the hub knows: one of T5's own, or one
    with an owner.
    """
    for name, spec in config.get('model', {}).get('task_tokenizers', {}).items():
        encoder = spec.get('kwargs', {}).get('encoder')
        found = params.get('octo_transformer', {}).get(f'task_tokenizers_{name}', {})
        if isinstance(encoder, str) and 'hf_model' in found and _is_own(encoder):
            return encoder, t5.sizes_from_params(found['hf_model'])
    return None


def files(sizes: t5.T5Sizes) -> dict[str, str]:
    """Returns what the folder holds beside the vocabulary, by file name."""
    return {
        'config.json': _json({
            'model_type': 't5', 'architectures': ['T5EncoderModel'],
            'vocab_size': sizes.vocab_size, 'd_model': sizes.d_model, 'd_kv': sizes.d_kv,
            'd_ff': sizes.d_ff, 'num_layers': sizes.num_layers, 'num_heads': sizes.num_heads,
            'relative_attention_num_buckets': t5.NUM_BUCKETS,
            'relative_attention_max_distance': t5.MAX_DISTANCE,
            'layer_norm_epsilon': t5.RMS_EPSILON, 'feed_forward_proj': 'relu',
            'pad_token_id': 0, 'eos_token_id': 1, 'decoder_start_token_id': 0}),
        'tokenizer_config.json': _json({
            'tokenizer_class': 'T5Tokenizer', 'legacy': True, 'extra_ids': 0, 'pad_token': '<pad>',
            'eos_token': '</s>', 'unk_token': '<unk>'})}


def _is_own(name: str) -> bool:
    return t5.is_t5(name) and name not in t5.KNOWN_SIZES and len(PurePath(name).parts) == 1


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + '\n'
