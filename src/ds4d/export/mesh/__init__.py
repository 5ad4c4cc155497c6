"""A mesh of fixed topology that moves with the Gaussians."""

from ds4d.export.mesh.animated_glb import write_animated_glb as write_animated_glb
from ds4d.export.mesh.animated_mesh import AnimatedMesh as AnimatedMesh
from ds4d.export.mesh.animated_mesh import animate_mesh as animate_mesh
from ds4d.export.mesh.skinned_glb import SkinningError as SkinningError
from ds4d.export.mesh.skinned_glb import read_skinning_error as read_skinning_error
from ds4d.export.mesh.skinned_glb import write_skinned_glb as write_skinned_glb
from ds4d.export.mesh.writer import write_mesh as write_mesh
