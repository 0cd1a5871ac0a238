"""What the dashboards show: one module per board, made of `parts.py`; `tools/dashboards.py` writes them."""
