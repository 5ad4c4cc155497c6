"""The canonical set: parameters, initialisation, density control."""
