"""The lowering kit: what every importer needs to bring a layer into the graph, and to refuse what it cannot.

From the ground up: `refusals` and `unread` (what is not understood is refused), `unquantised` (the one message for a
model of floats), `exact` (arrays of fractions), `tensors` (constants, values of the design times a scale, functions
that become tables), `operands` (what a rule asks of them), `model` and `walk` (the layers, and the state of one pass
over them), `dtypes` (element types, and whether numbers fit into them), `quantise` and `affine` (the one place that
rounds). Then the layers themselves: `elementwise`, `layout`, `linear`, `windows`, `conv`, `reduce`, `logic`, `cast`,
`einsum`, `curve` and `gather` (tables), `scores` (softmax and argmax), `attention`, `edges` (a table on every edge).
Around them `ports` (inputs, outputs and the finished design) and `compare`, by which the framework itself has the last
word.

What needs a builder and values of the design alone serves every rule: `names`, `given` (formats by input), `formats`
and `constants` (the narrowest), `moves` (movements of elements, written in numpy), `rows` (one function over all
positions), `letters` (products in Einstein's notation) and `lookup` (truth tables in the order of a ROM).
"""
