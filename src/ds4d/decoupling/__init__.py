"""DSFD: frame features split into a static and a dynamic part."""

from ds4d.decoupling.dsfd import DecouplingConfig as DecouplingConfig
from ds4d.decoupling.dsfd import check_static_cameras as check_static_cameras
from ds4d.decoupling.dsfd import decouple as decouple
from ds4d.decoupling.dsfd import dynamic_fraction as dynamic_fraction
from ds4d.decoupling.dsfd import reference_basis as reference_basis
from ds4d.decoupling.dsfd import reference_of_all as reference_of_all
from ds4d.decoupling.dsfd import references_of_segments as references_of_segments
from ds4d.decoupling.learned import LearnedReference as LearnedReference
from ds4d.decoupling.reference import REFERENCES as REFERENCES
