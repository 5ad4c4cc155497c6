"""HexPlane features and heads: how the canonical Gaussians change over time."""
