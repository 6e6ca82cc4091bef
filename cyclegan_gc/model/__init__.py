"""Networks, losses and training objectives on plain tensors: no files, no configuration, no HU."""
