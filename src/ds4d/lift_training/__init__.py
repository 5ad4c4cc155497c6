"""Training of the network of `ds4d.multiview.lift` on folders of animated 3D models."""
