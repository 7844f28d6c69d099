"""Floor 3: LGD blocks and networks, their initialisation, training and inference; knows nothing of boxes."""
