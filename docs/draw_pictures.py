"""Draw the pictures of docs/how-it-works.md from the demo clip and the bundled weights.

    python docs/draw_pictures.py
    python docs/draw_pictures.py --only block --output elsewhere

writes  OUTPUT/how-proposals.png, how-features.png, how-scores.png, how-tubes.png, how-trimming.png, how-block.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from detection.detect import DetectedVideo

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "assets" / "demo.mp4"
FRAME = 28
"""The frame that most pictures show: the left puppet waves, the right one stands."""
INK, PALE, PAPER = "#1f2430", "#8a90a0", "#ffffff"
LOCAL, GLOBAL, PLUS = "#2b6cb0", "#c05621", "#2f855a"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="folder (default docs/images)")
    names = ("proposals", "features", "scores", "tubes", "trimming", "block")
    parser.add_argument("--only", choices=names, action="append", help="draw this one; may be repeated")
    args = parser.parse_args(argv)
    args.only = args.only or list(names)
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "figure.facecolor": PAPER})
    args.output.mkdir(parents=True, exist_ok=True)
    frames, found = (None, None) if args.only == ["block"] else watch()
    for name in args.only:
        draw = globals()[f"draw_{name}"]
        figure = draw() if name == "block" else draw(frames, found)
        path = args.output / f"how-{name}.png"
        figure.savefig(path, dpi=130, metadata={"Software": None})
        squeeze(path)
        print(f"{path} {path.stat().st_size / 1000:.0f} kB")
    return 0


def squeeze(path: Path) -> None:
    """256 colours, which nobody sees and which halves the file."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def watch() -> tuple[list[np.ndarray], DetectedVideo]:
    """The frames of the demo and what is found in it."""
    from detection.detect import DetectConfig, bundled_scorers, detect_video
    from detection.proposals import open_proposer
    from detection.scorer import load_scorer
    from video.frames import open_video

    config = DetectConfig()
    scorers = [load_scorer(path) for path in bundled_scorers(None)]
    found = detect_video(DEMO, "demo", open_proposer("bundled", config=config.proposals), scorers, config)
    with open_video(DEMO) as source:
        return list(source), found


def plain_axes(figure: Any, place: tuple[float, float, float, float], title: str) -> Any:
    axes = figure.add_axes(place)
    axes.set_axis_off()
    axes.set_title(title, fontsize=9.5, loc="left", color=INK)
    return axes


def rectangle(axes: Any, box: np.ndarray, **look: Any) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = box.tolist()
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, **look))


def note(axes: Any, x: float, y: float, text: str, colour: str = INK, **look: Any) -> None:
    look = {"fontsize": 8, "color": "white", "ha": "left", "va": "bottom", **look}
    axes.text(x, y, text, bbox={"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none"}, **look)


def draw_proposals(frames: list[np.ndarray], found: DetectedVideo) -> Any:
    """The candidates of the first stage of one frame, and the boxes that the second leaves of them."""
    from matplotlib.figure import Figure

    from detection.proposals import ProposalConfig, open_proposer

    candidates = ProposalConfig(mode="objectness", max_boxes=60, min_score=0.0, nms_iou=0.7)
    figure = Figure(figsize=(8.2, 3.3))
    for column, (title, config) in enumerate(
        (("First stage: 60 best of the candidates", candidates), ("Second stage: actors", ProposalConfig()))
    ):
        (boxes,) = open_proposer("bundled", config=config).propose([frames[FRAME]], [FRAME])
        axes = plain_axes(figure, (0.01 + 0.5 * column, 0.01, 0.48, 0.9), title)
        axes.imshow(frames[FRAME])
        axes.set(xlim=(0, frames[FRAME].shape[1]), ylim=(frames[FRAME].shape[0], 0))
        for box, score in zip(boxes.boxes, boxes.scores):
            if column:
                rectangle(axes, box, edgecolor="#ffd24a", linewidth=2)
                note(axes, float(box[0]), float(box[1]) - 2, f"{score:.2f}", "#8a6d00")
            else:
                rectangle(axes, box, edgecolor="#ffffff", linewidth=0.8, alpha=0.25 + 0.75 * float(score))
    return figure


def draw_features(frames: list[np.ndarray], found: DetectedVideo) -> Any:
    """The clip around a frame, where its local map speaks for the action, and what its global vector says."""
    import torch
    from matplotlib.figure import Figure

    from detection.clip_scores import shrink
    from detection.detect import bundled_scorers
    from detection.geometry import network_size
    from detection.scorer import load_scorer
    from recognition.preprocessing import normalise_clips
    from video.heat import heat_over, scaled_heat

    scorer = load_scorer(bundled_scorers("rgb")[0])
    network, length = scorer.network, scorer.network.config.clip_frames
    height, width = network_size(*frames[0].shape[:2], network.config.short_side)
    first = FRAME - length // 2
    clip = torch.stack([torch.from_numpy(shrink(frame, (height, width))) for frame in frames[first : first + length]])
    with torch.inference_mode():
        local, summary = network.backbone(normalise_clips(clip[None], scorer.preprocessing))
        weights = network.region_classifier.weight
        evidence = torch.einsum("kc,ctyx->ktyx", weights - weights.mean(dim=0), local[0]).mean(dim=1).numpy()
        chances = network.clip_classifier(summary)[0].softmax(dim=0).numpy()
    stride, offset = network.config.backbone.spatial_stride, network.config.backbone.cell_offset
    rows, columns = evidence.shape[1:]
    left, top = (offset - stride / 2) / width, (offset - stride / 2) / height
    area = (left, top, left + columns * stride / width, top + rows * stride / height)
    tube = max((tube for tube in found.tubes if FRAME in tube.frames), key=lambda tube: tube.score)
    action = scorer.class_names.index(tube.label)

    figure = Figure(figsize=(8.2, 3.3))
    axes = plain_axes(figure, (0.01, 0.01, 0.30, 0.9), f"A clip: {length} frames")
    for number in range(5):
        shift = 26 * (4 - number)
        axes.imshow(
            clip[number * (length - 1) // 4].numpy(), extent=(shift, shift + 160, 120 + shift, shift), zorder=9 - shift
        )
        rectangle(
            axes, array([shift, shift, shift + 160, 120 + shift]), edgecolor="white", linewidth=1.2, zorder=9 - shift
        )
    axes.set(xlim=(0, 265), ylim=(225, 0))
    axes = plain_axes(
        figure, (0.335, 0.01, 0.40, 0.9), f'Local map, {columns} x {rows} cells: evidence for "{tube.label}"'
    )
    axes.imshow(heat_over(frames[FRAME], scaled_heat(evidence[[action]])[0], area))
    picture_height, picture_width = frames[0].shape[:2]
    for column in range(columns + 1):
        x = (area[0] * width + column * stride) * picture_width / width
        axes.axvline(x, color="white", linewidth=0.4, alpha=0.5)
    for row in range(rows + 1):
        y = (area[1] * height + row * stride) * picture_height / height
        axes.axhline(y, color="white", linewidth=0.4, alpha=0.5)
    rectangle(axes, tube.boxes[list(tube.frames).index(FRAME)], edgecolor="#ffd24a", linewidth=2)
    axes.set(xlim=(0, picture_width), ylim=(picture_height, 0))
    best = chances.argsort()[::-1][:6]
    axes = figure.add_axes((0.855, 0.08, 0.135, 0.77))
    axes.set_title(f"Global vector, {summary.shape[1]} numbers:\nthe clip as a whole", fontsize=9.5, loc="right")
    axes.barh(range(len(best)), chances[best], color=GLOBAL, height=0.62)
    axes.set_yticks(range(len(best)), [scorer.class_names[k] for k in best], fontsize=8)
    axes.invert_yaxis()
    axes.tick_params(length=0, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    for row, k in enumerate(best):
        axes.text(chances[k] + 0.01, row, f"{chances[k]:.2f}", va="center", fontsize=8)
    axes.set_xlim(0, float(chances[best[0]]) * 1.35)
    return figure


def array(values: list[float]) -> np.ndarray:
    import numpy as np

    return np.array(values, np.float64)


def draw_scores(frames: list[np.ndarray], found: DetectedVideo) -> Any:
    """The boxes of one frame with their best actions, RGB and flow together."""
    import numpy as np
    from matplotlib.figure import Figure

    boxes = found.scored.detections[FRAME]
    figure = Figure(figsize=(8.2, 3.3))
    axes = plain_axes(figure, (0.01, 0.01, 0.48, 0.9), f"Scored boxes of frame {FRAME}")
    axes.imshow(frames[FRAME])
    order = np.argsort(-boxes.scores)[:2]
    colours = (LOCAL, GLOBAL)
    for place, (k, colour) in enumerate(zip(order, colours)):
        rectangle(axes, boxes.boxes[k], edgecolor=colour, linewidth=2.2)
        note(axes, float(boxes.boxes[k, 0]), float(boxes.boxes[k, 1]) - 2, f"box {place + 1}", colour)
        bars = figure.add_axes((0.635, 0.55 - 0.47 * place, 0.34, 0.32))
        scores = np.asarray(boxes.class_scores)[k]
        best = scores.argsort()[::-1][:5]
        bars.set_title(f"box {place + 1}: actor {boxes.scores[k]:.2f} x action", fontsize=9, loc="left", color=colour)
        bars.barh(range(5), scores[best], color=colour, height=0.62)
        bars.set_yticks(range(5), [found.scored.class_names[j] for j in best], fontsize=8)
        bars.invert_yaxis()
        bars.set_xlim(0, 0.75)
        bars.tick_params(length=0, labelbottom=False)
        for side in bars.spines.values():
            side.set_visible(False)
        for row, j in enumerate(best):
            bars.text(scores[j] + 0.008, row, f"{scores[j]:.2f}", va="center", fontsize=8)
    return figure


def best_tubes(found: DetectedVideo) -> list[Any]:
    """The best tube of each puppet: waving on the left, jumping on the right."""
    from linking.actors import group_by_actor

    return [actor.tube for actor in group_by_actor(found.tubes)[:2]]


def draw_tubes(frames: list[np.ndarray], found: DetectedVideo) -> Any:
    """The two best tubes over time, with frames of the video among them."""
    from eval.plots import tube_figure

    tubes = best_tubes(found)
    shown = {number: frames[number] for number in (0, FRAME, 84)}
    height, width = frames[0].shape[:2]
    return tube_figure(tubes, width=width, height=height, num_frames=len(frames), fps=found.scored.fps, pictures=shown)


def draw_trimming(frames: list[np.ndarray], found: DetectedVideo) -> Any:
    """The scores of one action along its whole path, and what of it becomes the tube."""
    import numpy as np
    from matplotlib.figure import Figure

    from linking.build import DEFAULT_LINK
    from linking.untrimmed import untrimmed_paths

    tubes = best_tubes(found)
    figure = Figure(figsize=(8.2, 3.7))
    for place, (tube, path) in enumerate(zip(tubes, untrimmed_paths(tubes, found.scored, DEFAULT_LINK))):
        left = 0.065 + 0.495 * place
        axes = figure.add_axes((left, 0.12, 0.43, 0.44))
        colour = (LOCAL, GLOBAL)[place]
        axes.axvspan(tube.first_frame, tube.end_frame, color=colour, alpha=0.14, linewidth=0)
        axes.plot(path.frames, path.scores, color=PALE, linewidth=1.4)
        axes.plot(tube.frames, tube.scores, color=colour, linewidth=2.2)
        axes.set(xlim=(0, len(frames)), ylim=(0, 1), xlabel="frame")
        axes.set_yticks([0, 0.5, 1])
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        middle = (tube.first_frame + tube.end_frame) / 2
        axes.text(middle, 0.9, f"{tube.label} {tube.score:.2f}", color=colour, ha="center", weight="bold")
        outside = [k for k in path.frames if k not in tube.frames]
        if outside:
            axes.text(float(np.median(outside)), 0.72, "cut away", color=PALE, ha="center", fontsize=8)
        numbers = np.linspace(path.first_frame, path.end_frame - 1, 7).round().astype(int)
        for column, number in enumerate(numbers):
            small = figure.add_axes((left + column * 0.0625, 0.60, 0.058, 0.36))
            small.set_axis_off()
            x1, y1, x2, y2 = path.boxes[np.searchsorted(path.frames, number)].tolist()
            centre, half = (x1 + x2) / 2, 45
            small.imshow(frames[number], alpha=1.0 if number in tube.frames else 0.35)
            small.set(xlim=(centre - half, centre + half), ylim=(235, 15))
            rectangle(
                small, array([x1, y1, x2, y2]), edgecolor=colour if number in tube.frames else PALE, linewidth=1.4
            )
            small.set_title(f"{number}", fontsize=7, color=INK, pad=2)
    return figure


def draw_block() -> Any:
    """One LGD block: Eq. 2 and 3 of the paper."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

    figure = Figure(figsize=(8.2, 3.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 164), ylim=(0, 70))
    axes.set_axis_off()

    def box(
        x: float, y: float, width: float, text: str, colour: str, *, height: float = 11, filled: bool = False
    ) -> None:
        axes.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=1.6",
                facecolor=colour if filled else PAPER, edgecolor=colour, linewidth=1.6,
            )
        )  # fmt: skip
        axes.text(
            x, y, text, ha="center", va="center", fontsize=9.5, color="white" if filled else colour, linespacing=1.25
        )

    def plus(x: float, y: float) -> None:
        axes.add_patch(Circle((x, y), 2.6, facecolor=PAPER, edgecolor=PLUS, linewidth=1.6))
        axes.text(x, y - 0.1, "+", ha="center", va="center", fontsize=13, color=PLUS)

    def arrow(start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
        axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=11, linewidth=1.5, color=colour, shrinkA=0, shrinkB=0
            )
        )

    top, low = 52, 18
    box(14, top, 20, "local map\n$x_{l-1}$", LOCAL, filled=True)
    box(14, low, 20, "global vector\n$g_{l-1}$", GLOBAL, filled=True)
    box(52, top, 30, "residual unit $F$\n1x3x3 and 3x1x1", LOCAL)
    box(104, top, 12, "ReLU", LOCAL)
    box(150, top, 20, "local map\n$x_l$", LOCAL, filled=True)
    box(46, 35, 32, "copy to every position\n$US(W^{xg} g_{l-1})$", GLOBAL)
    box(80, low, 20, "$W^{gg} g_{l-1}$", GLOBAL)
    box(118, 35, 32, "mean over the map\n$W^{gx} P(x_l)$", LOCAL)
    box(132, low, 12, "ReLU", GLOBAL)
    box(152, low, 20, "global vector\n$g_l$", GLOBAL, filled=True)
    plus(84, top)
    plus(118, low)
    arrow((24, top), (37, top), LOCAL)
    arrow((67, top), (81.4, top), LOCAL)
    arrow((86.6, top), (98, top), LOCAL)
    arrow((110, top), (140, top), LOCAL)
    axes.plot([27.5, 27.5], [low, 35], color=GLOBAL, linewidth=1.5)
    arrow((27.5, 35), (30, 35), GLOBAL)
    axes.plot([62, 84], [35, 35], color=GLOBAL, linewidth=1.5)
    arrow((84, 35), (84, top - 2.6), GLOBAL)
    arrow((118, top), (118, 40.5), LOCAL)
    arrow((118, 29.5), (118, low + 2.6), LOCAL)
    arrow((24, low), (70, low), GLOBAL)
    arrow((90, low), (115.4, low), GLOBAL)
    arrow((120.6, low), (126, low), GLOBAL)
    arrow((138, low), (142, low), GLOBAL)
    for y, text, colour in (
        (64, "local path: what is where and when, a feature a cell", LOCAL),
        (7, "global path: the whole clip in one vector", GLOBAL),
    ):
        axes.text(4, y, text, fontsize=9.5, color=colour, weight="bold", va="center")
    return figure


if __name__ == "__main__":
    sys.exit(main())
