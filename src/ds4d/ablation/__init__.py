"""The paper's ablation: the same clips, seeds and steps fitted with one part of the method after the other."""

from ds4d.ablation.cases import Case as Case
from ds4d.ablation.cases import MultiView as MultiView
from ds4d.ablation.cases import find_cases as find_cases
from ds4d.ablation.cases import fit_case as fit_case
from ds4d.ablation.rows import ROWS as ROWS
from ds4d.ablation.rows import rows as rows
from ds4d.ablation.runner import Event as Event
from ds4d.ablation.runner import FitDone as FitDone
from ds4d.ablation.runner import FitFailed as FitFailed
from ds4d.ablation.runner import Planned as Planned
from ds4d.ablation.runner import ablate as ablate
from ds4d.ablation.runner import plan as plan
from ds4d.ablation.table import write_tables as write_tables
