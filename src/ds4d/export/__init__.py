"""What is handed on: PLY, videos, contact sheets, plots."""
