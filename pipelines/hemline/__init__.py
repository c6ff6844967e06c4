"""Hemline's pipelines: from CSV files in H&M's schema to the bundle that the servers read."""
