"""Audits of differential privacy, of three kinds that are never mixed in one figure.

*Lower bound* (`canaries`): holds whatever the mechanism is, and is far below the truth: it misses noise that is too small
by a factor of root two. *Conformance* (`conformance`, `sensitivity`, `replacing`, `accounting`): each part of the mechanism is
what the proof takes it to be, up to the test's level. *Estimate* (`estimate`): close to the truth if the noise is Gaussian,
which conformance is about.

`subject` says what is looked at: the mechanism of a study, as the project's own functions.
"""
