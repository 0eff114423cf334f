"""What learns: an encoder with objectives or a head, its loss, and the batches that it learns from."""
