"""The report of a finished run: one HTML page with videos, images, curves, metrics and settings."""

from ds4d.runs.report.page import write_report as write_report
