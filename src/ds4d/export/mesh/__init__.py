"""A mesh of one topology that moves as the Gaussians do."""

from ds4d.export.mesh.animated_glb import write_animated_glb as write_animated_glb
from ds4d.export.mesh.animated_mesh import AnimatedMesh as AnimatedMesh
from ds4d.export.mesh.animated_mesh import MeshConfig as MeshConfig
from ds4d.export.mesh.animated_mesh import animate_mesh as animate_mesh
