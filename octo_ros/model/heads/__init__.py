"""Action heads: from embeddings to chunks of actions."""
