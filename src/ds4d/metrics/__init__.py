"""Scores of rendered views against ground truth."""
