"""What people who come from other languages write, and what it is called here. Messages point from one to the other."""

from __future__ import annotations

import re

# What was renamed since lutc 0.1: read as what it is called now, and written so by `fmt`.
RENAMED_OPERATIONS = {"cat": "bit_concat"}
RENAMED_MODES = {"nearest": "nearest-half-up"}

# Operations, by the names that Verilog, LLVM, MLIR, CIRCT, XLS, ONNX, numpy and PyTorch have for them.
OPERATIONS = {
    "mux": "select",
    "sel": "select",
    "where": "select",
    "ite": "select",
    "icmp": "compare",
    "cmp": "compare",
    "fcmp": "compare",
    "eq": "compare",
    "ne": "compare",
    "lt": "compare",
    "le": "compare",
    "gt": "compare",
    "ge": "compare",
    "shl": "scale",
    "shr": "scale",
    "sll": "scale",
    "srl": "scale",
    "sra": "scale",
    "shift": "scale",
    "lshift": "scale",
    "rshift": "scale",
    "extract": "bit_slice",
    "bits": "bit_slice",
    "trunc": "quant",
    "truncate": "quant",
    "round": "quant",
    "cast": "quant",
    "convert": "quant",
    "ext": "quant",
    "sext": "quant",
    "zext": "quant",
    "sign_ext": "quant",
    "zero_ext": "quant",
    "clip": "quant",
    "clamp": "quant",
    "saturate": "quant",
    "sat": "quant",
    "quantize": "quant",
    "quantise": "quant",
    "fixed": "quant",
    "requantize": "rescale",
    "requantise": "rescale",
    "requant": "rescale",
    "dequant": "rescale",
    "concat_bits": "bit_concat",
    "bit_cat": "bit_concat",
    "linear": "dense",
    "gemm": "dense",
    "fc": "dense",
    "fully_connected": "dense",
    "dot": "matmul",
    "mm": "matmul",
    "bmm": "matmul",
    "mult": "mul",
    "times": "mul",
    "product": "mul",
    "plus": "add",
    "minus": "sub",
    "subtract": "sub",
    "negate": "neg",
    "maximum": "max",
    "minimum": "min",
    "smax": "max",
    "umax": "max",
    "smin": "min",
    "umin": "min",
    "inv": "not",
    "invert": "not",
    "table": "lut",
    "lookup": "lut",
    "rom": "lut",
    "literal": "number",
    "constant": "number",
    "register": "reg",
    "ff": "reg",
    "flop": "reg",
    "dff": "reg",
    "delay": "reg",
    "stack": "concat",
    "permute": "transpose",
    "view": "reshape",
    "flatten": "reshape",
    "expand": "broadcast",
    "repeat": "broadcast",
    "splat": "broadcast",
    "take": "gather",
    "index": "gather",
    "reduce_sum": "sum",
    "extractelement": "element",
    "pack_array": "pack",
    "array": "pack",
    "invoke": "call",
    "vmap": "map",
}

# Types, as patterns of their whole text; the groups are bits, and bits in front of the point.
TYPES = {
    r"u?int(?P<bits>\d+)(_t)?": "",
    r"[su]?i(?P<bits>\d+)": "",
    r"ap_u?int<(?P<bits>\d+)>": "",
    r"ap_u?fixed<(?P<bits>\d+),(?P<whole>-?\d+)(,.*)?>": "",
    r"bits\[(?P<bits>\d+)\]": "u",
    r"bool|bit|i1|std_logic": "u1",
}


def type_of(text: str) -> str | None:
    """What a type of another language is called here: `s8f4` for `ap_fixed<8,4>`."""
    plain = text.replace(" ", "")
    for pattern, known in TYPES.items():
        if found := re.fullmatch(pattern, plain, re.I):
            parts = found.groupdict()
            if "bits" not in parts:
                return known
            sign = known or ("u" if re.match(r"u|ap_u", plain, re.I) else "s")
            after = int(parts["bits"]) - int(parts["whole"]) if parts.get("whole") else 0
            return f"{sign}{parts['bits']}" + (f"f{after}" if after else "")
    return None


# Words of `round=` and `overflow=`.
MODES = {
    "round": "nearest-half-even",
    "rne": "nearest-half-even",
    "rint": "nearest-half-even",
    "even": "nearest-half-even",
    "half-even": "nearest-half-even",
    "half_even": "nearest-half-even",
    "convergent": "nearest-half-even",
    "conv": "nearest-half-even",
    "rnd_conv": "nearest-half-even",
    "rnd": "nearest-half-up",
    "rnu": "nearest-half-up",
    "half-up": "nearest-half-up",
    "half_up": "nearest-half-up",
    "rnd_inf": "nearest-half-away",
    "rna": "nearest-half-away",
    "half-away": "nearest-half-away",
    "rnd_zero": "nearest-half-zero",
    "rnd_min_inf": "nearest-half-down",
    "trn": "floor",
    "truncate": "floor (drops bits) or toward-zero",
    "trunc": "floor (drops bits) or toward-zero",
    "rdn": "floor",
    "down": "floor",
    "rup": "ceil",
    "up": "ceil",
    "ceiling": "ceil",
    "rtz": "toward-zero",
    "rtn": "floor",
    "trn_zero": "toward-zero",
    "zero": "toward-zero",
    "sat": "saturate",
    "clip": "saturate",
    "clamp": "saturate",
    "sat_sym": "saturate-symmetric",
    "symmetric": "saturate-symmetric",
    "wrp": "wrap",
    "modulo": "wrap",
    "mod": "wrap",
}
