"""SAM-Autoprompt: every slice is segmented by points that the noisy mask gives."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch

from VoxelFeatLib.evaluation.refinement.methods.slicewise import OnSlices
from VoxelFeatLib.evaluation.refinement.noise import NoisyMask
from VoxelFeatLib.evaluation.refinement.sam.points import Prompt, prompts
from VoxelFeatLib.imaging.aliases import Mask


class SamAutoprompt(OnSlices):
    """SAM's image prompts, slice by slice, part by part.

    Args:
        sam: The model.
    """

    name = "sam-autoprompt"

    @torch.no_grad()
    def refine(self, noisy: NoisyMask) -> Generator[float, None, Mask]:
        """Return what SAM sees where the noisy mask has something; slices without stay empty."""
        slices = self.slices
        coarse_mm = float(np.delete(noisy.grid.spacing, slices.axis).max())
        result = np.zeros(noisy.mask.shape, dtype=bool)
        masks, results = slices.along(noisy.mask), slices.along(result)
        (used,) = np.nonzero(masks.any(axis=(1, 2)))
        for done, number in enumerate(used.tolist()):
            yield done / len(used)
            features = self._sam.model.forward_image(slices.image(number)[None])["backbone_fpn"]
            for prompt in prompts(masks[number], slices.spacing, coarse_mm):
                results[number] |= slices.voxels(self._logits(features, prompt))
        return result

    def _logits(self, features: list[torch.Tensor], prompt: Prompt) -> torch.Tensor:
        """Return (1, 1, S / 4, S / 4) logits; the steps are `SAM2ImagePredictor`'s."""
        model = self._sam.model
        *fine, coarse = features
        # Its prompt encoder adds half a pixel to get to pixels' centres.
        share = (prompt.points + 0.5) / np.array(self.slices.shape)
        xy = torch.tensor(share[:, ::-1].copy(), dtype=torch.float32, device=coarse.device)
        labels = torch.tensor(prompt.positive, dtype=torch.int32, device=coarse.device)
        sparse, dense = model.sam_prompt_encoder(
            points=((xy * model.image_size - 0.5)[None], labels[None]), boxes=None, masks=None
        )
        logits: torch.Tensor = model.sam_mask_decoder(
            image_embeddings=coarse + model.no_mem_embed.view(1, -1, 1, 1),
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            repeat_image=False,
            high_res_features=fine,
        )[0]
        return logits
