"""Pure loss functions and the named, weighted sum of them."""
