"""Singh et al. (ICCV 2017) step by step, as the released MATLAB does it, for comparison with linking.online.

Transcribed from the behaviour of ``online-tubes`` of gurkirt/realtime-action-detection (actionPaths.m,
incremental_linking.m, PARactionPathSmoother.m, dpEM_max.m, convert2eval.m): one class at a time, one path at a time,
plain loops. ``frames`` is a list of (boxes (n, 4), class scores (n, classes)).
"""

GAP = 3


def published_paths(frames, a):
    """Paths of class ``a``, best first: dicts of start, boxes, scores and all_scores, one entry a frame."""
    live, dead = [], []
    for t, (boxes, all_scores) in enumerate(frames):
        kept = filtered(boxes, all_scores, a)
        open_boxes = list(kept)
        for path in live:
            # the best score among the boxes that overlap and that no path before has taken
            fitting = [b for b in open_boxes if iou(path["boxes"][-1], boxes[b], 1) >= 0.1]
            if fitting:
                taken = fitting[0]
                for b in fitting[1:]:
                    if all_scores[b][a] > all_scores[taken][a]:
                        taken = b
                open_boxes.remove(taken)
                append(path, t, boxes, all_scores, taken, a)
            else:
                path["misses"] += 1
        live.sort(key=order, reverse=True)  # stable, also in reverse
        dead += [path for path in live if path["misses"] >= GAP]
        live = [path for path in live if path["misses"] < GAP]
        for b in open_boxes:
            path = {"found": [], "boxes": [], "scores": [], "all_scores": []}
            append(path, t, boxes, all_scores, b, a)
            live.append(path)
    paths = [without_gaps(path) for path in live + dead if len(path["found"]) > GAP]
    return sorted(paths, key=lambda path: -mean(sorted(path["scores"], reverse=True)[:20]))


def published_tubes(frames, a, alpha=3.0):
    """Trimmed tubes of class ``a``: (first frame, boxes, score)."""
    tubes = []
    for path in published_paths(frames, a):
        labels = published_labels(path["all_scores"], alpha)
        t = 0
        while t < len(labels):
            end = t
            while end < len(labels) and labels[end] == a:
                end += 1
            if end - 1 - t > 8:  # te - ts, both inclusive
                score = mean(sorted(path["scores"][t:end], reverse=True)[:40])
                tubes.append((path["start"] + t, path["boxes"][t:end], score))
            t = max(end, t + 1)
    return tubes


def published_labels(all_scores, alpha):
    """The best class of each frame: dynamic programming over 20 + score, ``alpha`` less for every change."""
    classes = range(len(all_scores[0]))
    worth, back = [20 + s for s in all_scores[0]], []
    for scores in all_scores[1:]:
        before, now = [], []
        for i in classes:
            options = [worth[j] - alpha * (j != i) for j in classes]
            before.append(options.index(max(options)))
            now.append(20 + scores[i] + max(options))
        back.append(before)
        worth = now
    labels = [worth.index(max(worth))]
    for before in reversed(back):
        labels.append(before[labels[-1]])
    return labels[::-1]


def filtered(boxes, all_scores, a):
    """Box numbers by falling score: above 0.001, the best 50, suppressed at 0.45, the best 10."""
    order = sorted((b for b in range(len(boxes)) if all_scores[b][a] > 0.001), key=lambda b: -all_scores[b][a])[:50]
    kept = []
    for b in order:
        if all(iou(boxes[k], boxes[b], 0) <= 0.45 for k in kept):
            kept.append(b)
    return kept[:10]


def append(path, t, boxes, all_scores, b, a):
    path["found"].append(t)
    path["boxes"].append([float(side) for side in boxes[b]])
    path["scores"].append(float(all_scores[b][a]))
    path["all_scores"].append([float(s) for s in all_scores[b]])
    path["misses"] = 0


def order(path):
    return mean(sorted(path["scores"])[-(GAP + 1) :])


def without_gaps(path):
    """A missed frame repeats what was found after it."""
    filled = {"start": path["found"][0], "boxes": [], "scores": [], "all_scores": []}
    for i, t in enumerate(path["found"]):
        times = 1 if i == 0 else t - path["found"][i - 1]
        for name in ("boxes", "scores", "all_scores"):
            filled[name] += [path[name][i]] * times
    return filled


def iou(a, b, pixel):
    """Of two boxes whose sides are ``pixel`` longer than the difference of their corners."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + pixel
    height = min(a[3], b[3]) - max(a[1], b[1]) + pixel
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width) * float(height)
    areas = sum((float(c[2]) - float(c[0]) + pixel) * (float(c[3]) - float(c[1]) + pixel) for c in (a, b))
    return shared / (areas - shared)


def mean(values):
    return sum(values) / len(values)
