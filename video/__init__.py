"""Floor 2: decoding, encoding, clips, dataset readers and the generated dataset; knows nothing of models."""
