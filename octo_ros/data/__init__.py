"""Episodes: on disk, in windows, normalised, augmented and in batches."""
