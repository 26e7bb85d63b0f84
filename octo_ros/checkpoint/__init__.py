"""Files to and from configs, statistics and parameters, in the layout of the releases."""
