"""Post-training quantisation: from a float model and data to a model that a circuit computes exactly.

`plain` brings the model into a form where affine steps are part of the weights, `sites` finds what needs a format,
`Search` measures what errors cost and assigns formats and weights at a rate between loss and LUTs, and `quantize`
looks for the rate that the user's bound asks for.
"""
