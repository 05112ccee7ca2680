"""From the tables of a run to what is shown of it: smoothing, configurations, medians, summaries.

Pure functions of :class:`optbench.records.RunTables`; nothing here knows how a lane was computed.
Lanes of one problem and label with the same hyperparameters are one *configuration* with several
seeds. A diverged or failed lane counts as +inf in every ranking and every median: it is the worst
of its seeds and is never dropped. A lane that has not ended yet has no final values; what depends
on them is NaN.
"""
