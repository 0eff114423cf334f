"""Evaluation beyond one model: baselines, comparisons on the same rows."""
