"""Text to pretrain on: readers of documents, and token shards."""
