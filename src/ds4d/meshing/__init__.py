"""A mesh of one topology that moves as the Gaussians do."""

from ds4d.meshing.animated_mesh import AnimatedMesh as AnimatedMesh
from ds4d.meshing.animated_mesh import MeshConfig as MeshConfig
from ds4d.meshing.animated_mesh import animate_mesh as animate_mesh
