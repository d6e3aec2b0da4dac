"""A small network of two layers, for tests of what tools make of builds."""

TEXT = """lir 1
const @w: s5f2[4, 2] = [1.25 -0.5  0 2.0  -1.75 1  0.25 0.75]
const @b: s4f2[2] = [0.25 -1]
const @v: s4f2[2, 1] = [0.75 -1.25]

design scorer(%x: s6f3[4]) -> (y = %q) {
  %m          = dense %x, @w                                !"hidden"
  %h          = add %m, @b                                  !"hidden"
  %a          = relu %h                                     !"hidden"
  %c: u5f2[2] = quant %a, round=floor, overflow=saturate    !"hidden"
  %s          = dense %c, @v                                !"score"
  %q: s6f2[1] = quant %s, round=floor, overflow=saturate    !"score"
}
"""
