"""A learned prior of shapes: what an object seen in one image looks like from all sides."""
