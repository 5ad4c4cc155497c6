"""How generated views differ from each other, learnt with the object."""

from ds4d.alignment.view_alignment import AlignmentConfig as AlignmentConfig
from ds4d.alignment.view_alignment import ViewAlignment as ViewAlignment
