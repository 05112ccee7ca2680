"""Steps stacked lanes: it is handed blocks of plain data and yields records.

It knows no suite and no file format.
"""
