"""SAM 2.1 as a whole, with its prompts and its memory, of the `sam2` package's own classes.

Nothing that needs torchvision or the package's CUDA extension is used: filling small holes, which
needs the latter, is left out.
"""

from __future__ import annotations

from pathlib import Path

import torch
from hydra import compose
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.sam2_video_predictor import SAM2VideoPredictor

from VoxelFeatLib.backbones.sam2.backbone import STRIDE
from VoxelFeatLib.backbones.sam2.checkpoints import architecture_of, read_weights
from VoxelFeatLib.errors import InputError, WeightsError

# The package's own configuration files.
_FILES = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}
# What `build_sam2_video_predictor` adds, but for holes.
_OVERRIDES = (
    "++model._target_=sam2.sam2_video_predictor.SAM2VideoPredictor",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
    "++model.binarize_mask_from_pts_for_mem_enc=true",
)


def load_whole(path: Path, input_size: int, device: torch.device) -> SAM2VideoPredictor:
    """Read a checkpoint of SAM 2.1 with all of its weights, not the encoder's alone.

    Args:
        path: The file; its size is told from the weights' shapes.
        input_size: Side of the square input, pixels, a multiple of 32; SAM2 was trained at 1024.
        device: Where the model is to work.

    Raises:
        WeightsError: The file is missing, damaged, foreign, or lacks weights.
        InputError: The input size does not fit.
    """
    if input_size < STRIDE or input_size % STRIDE:
        raise InputError(
            f"SAM2 takes input sizes that are multiples of {STRIDE}, not {input_size}."
        )
    if not path.is_file():
        raise WeightsError(f"There is no checkpoint {path}: choose another.")
    weights = read_weights(path)
    architecture = architecture_of(weights, path)
    name = f"configs/sam2.1/sam2.1_hiera_{_FILES[architecture.name]}.yaml"
    config = compose(name, overrides=[*_OVERRIDES, f"++model.image_size={input_size}"])
    OmegaConf.resolve(config)
    # The numbers that are drawn at first are nobody's business: the weights replace them all.
    with torch.random.fork_rng(devices=[]):
        model: SAM2VideoPredictor = instantiate(config.model, _recursive_=True)
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not have all the weights of SAM 2.1, and no others: choose a whole "
            "checkpoint, such as its authors’."
        ) from error
    return model.to(device).requires_grad_(False).eval()
