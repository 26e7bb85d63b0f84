"""Octo in Flax: tokenizers, transformer and action heads."""
