"""Generator of the demo corpus: eight files of clinical notes, one specialty per hospital.

All text is synthetic. It is composed from hand-written case records and phrase pools with numbers
drawn from plausible ranges; no patient, clinician, hospital, trial or address in it is real, and
nothing in it is medical advice.
"""
