"""Helpers of the course *Features Without Labels*.

The modules stand on floors, and imports point down only:

====== ============================================== =======================================
floor  modules                                        what they hold
====== ============================================== =======================================
6      ``gallery``, ``comparison``                    pages made from the results store
5      ``scorecard``, ``results``                     every measure of a feature; the store
4      ``plots``, ``widgets``                         figures and live controls
3      ``separability``, ``clustering``,              one kind of measure each, as plain
       ``probing``, ``embedding``                     functions on arrays
       ``pretraining``, ``codes``                     weights of our own; how a code is used
2      ``backbones``, ``features``, ``weights``       networks of several chapters; forward passes
       ``distances``                                  all pairs of rows, however wide they are
1      ``datasets``, ``losses``, ``layers``,          ``load(name) -> ImageSet``; terms of a loss;
       ``augment``                                    random changes of images
0      ``runtime``, ``validation``                    profile, seeds, versions; input checks
====== ============================================== =======================================
"""

__version__ = "0.1.0"
