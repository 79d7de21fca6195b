"""The report of a network as one HTML page; `page.py` is where it begins."""
