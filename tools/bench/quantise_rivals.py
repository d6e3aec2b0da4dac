"""Other ways from the float models of `quantise.py` to integers: ONNX Runtime's static quantisation, and Brevitas."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]
BATCH = 64
CALIBRATIONS = ("MinMax", "Entropy", "Percentile")
BITS = (8, 6, 4)


def onnxruntime(source: Path, rows: Array, folder: Path) -> Iterator[tuple[str, Path]]:
    """QDQ models of int8 by each way of calibration, with weights scaled by tensor and by channel."""
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = folder / "prepared.onnx"
    quant_pre_process(str(source), str(ready))

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            # The calibrators by histogram take batches of one size only.
            self.left = iter(rows[: len(rows) // BATCH * BATCH].reshape(-1, BATCH, *rows.shape[1:]))

        def get_next(self) -> dict[str, Array] | None:
            batch = next(self.left, None)
            return None if batch is None else {"x": batch}

    for way in CALIBRATIONS:
        for by_channel in (False, True):
            place = folder / f"ort_{way}_{'channel' if by_channel else 'tensor'}.onnx"
            q.quantize_static(
                str(ready), str(place), Reader(), quant_format=q.QuantFormat.QDQ, per_channel=by_channel,
                activation_type=q.QuantType.QInt8, weight_type=q.QuantType.QInt8,
                calibrate_method=getattr(q.CalibrationMethod, way),
            )  # fmt: skip
            yield f"{way}, by {'channel' if by_channel else 'tensor'}", place


def brevitas(model: torch.nn.Sequential, rows: Array, bits: int, place: Path) -> None:
    """Brevitas' post-training recipe at one width: calibrated activations, GPTQ, corrected biases; QONNX in `place`.

    Scales are powers of two, weights' by channel, as its own example for FPGAs has them.
    """
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from brevitas.export import export_qonnx
        from brevitas.graph.quantize import preprocess_for_quantize
        from brevitas_examples.imagenet_classification.ptq import ptq_common as ptq  # type: ignore[import-untyped]

        x = torch.from_numpy(rows)
        loader = [(b, torch.zeros(len(b))) for b in torch.split(x, BATCH)]
        plain = preprocess_for_quantize(model, equalize_iters=20)
        made = ptq.quantize_model(
            plain, backend="fx", weight_bit_width=bits, act_bit_width=bits, bias_bit_width=32,
            weight_quant_granularity="per_channel", act_quant_percentile=99.99, act_quant_type="sym",
            scale_factor_type="po2_scale", quant_format="int", layerwise_first_last_bit_width=bits,
        )  # fmt: skip
        with torch.no_grad():
            made(x[:BATCH])  # GPTQ wants the scales of the weights, which are found as they are first read
        ptq.calibrate(loader, made)
        ptq.apply_gptq(loader, made)
        ptq.apply_bias_correction(loader, made)
        made.eval()
        export_qonnx(made, x[:1], export_path=str(place))


def answers(path: Path, rows: Array) -> Array:
    """What ONNX Runtime computes for rows."""
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": rows})
    return np.asarray(found)
