"""The folder of a run: paths, records, estimates of cost, the report."""

from ds4d.runs.estimate import Prediction as Prediction
from ds4d.runs.estimate import gpu_fixes as gpu_fixes
from ds4d.runs.estimate import predict_run as predict_run
from ds4d.runs.folder import RunFolder as RunFolder
from ds4d.runs.records import EvaluationRecord as EvaluationRecord
from ds4d.runs.records import Provenance as Provenance
from ds4d.runs.records import RunMetrics as RunMetrics
from ds4d.runs.records import RunRecord as RunRecord
from ds4d.runs.records import read_record as read_record
