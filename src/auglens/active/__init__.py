"""Augs that look where the model looks: ADA, proxy attention, SaliencyMix, Attentive CutMix.

`specs` their parameters, `windows` where a map is greatest, `changes` what is done to the pixels, `step` the one
mechanism that they share. Importing this package imports no torch.
"""
