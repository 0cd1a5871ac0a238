"""The async shell: look, decide, perform, report. Thin: what it does was decided in `core/`."""
