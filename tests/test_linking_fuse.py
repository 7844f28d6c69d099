import dataclasses

import numpy as np
import pytest

from linking.fuse import FusionConfig, FusionError, fuse_streams, mean_of_streams, product_of_streams
from linking.geometry import box_iou, nms
from linking.records import Detections
from linking.scores import ScoredVideo

CLASSES = ("run", "jump")
PRODUCT, MEAN, BOOST, UNION = (FusionConfig(method=method) for method in ("product", "mean", "boost", "union"))


def at(x):
    return (x, 0, x + 40, 80)


def video(*frames, names=CLASSES, **changes):
    """Each frame is a list of (x, (score of each class)); objectness is the first score."""
    detections = []
    for t, boxes in enumerate(frames):
        scores = np.array([s for _, s in boxes]).reshape(-1, len(names))
        detections.append(Detections(t, np.array([at(x) for x, _ in boxes]).reshape(-1, 4), scores[:, 0], scores))
    return ScoredVideo(**{"video": "clip", "class_names": names, "detections": tuple(detections), "width": 320,
                          "height": 240, "fps": 25.0, "cuts": (), **changes})  # fmt: skip


def scores_of(fused, frame=0):
    return fused.detections[frame].class_scores.tolist()


class TestMean:
    def test_scores_of_the_same_boxes_are_averaged(self):
        rgb, flow = video([(0, (0.8, 0.1)), (100, (0.2, 0.3))]), video([(0, (0.4, 0.3)), (100, (0.0, 0.5))])
        fused = fuse_streams(rgb, flow, MEAN)
        assert scores_of(fused) == [
            pytest.approx([(0.8 + 0.4) / 2, (0.1 + 0.3) / 2]),
            pytest.approx([(0.2 + 0.0) / 2, (0.3 + 0.5) / 2]),
        ]
        assert fused.detections[0].scores.tolist() == pytest.approx([0.6, 0.1])
        assert fused.detections[0].boxes.tolist() == rgb.detections[0].boxes.tolist()

    def test_the_weight_is_the_share_of_the_second_stream(self):
        rgb, flow = video([(0, (0.8, 0.1))]), video([(0, (0.4, 0.3))])
        fused = fuse_streams(rgb, flow, FusionConfig("mean", weight=0.25))
        assert scores_of(fused) == [pytest.approx([0.75 * 0.8 + 0.25 * 0.4, 0.75 * 0.1 + 0.25 * 0.3])]
        assert scores_of(fuse_streams(rgb, flow, FusionConfig("mean", weight=0.0))) == scores_of(rgb)

    def test_other_boxes_are_refused_by_frame(self):
        rgb, flow = video([(0, (0.8, 0.1))], [(0, (0.8, 0.1))]), video([(0, (0.4, 0.3))], [(1, (0.4, 0.3))])
        with pytest.raises(FusionError, match="clip: the streams have other boxes in frame 1; product and mean need"):
            fuse_streams(rgb, flow, MEAN)
        with pytest.raises(FusionError, match="frame 1; product and mean need the same"):
            fuse_streams(rgb, flow, PRODUCT)


class TestProduct:
    def test_classes_share_the_mean_by_the_product(self):
        rgb, flow = video([(0, (0.6, 0.2)), (100, (0.5, 0.1))]), video([(0, (0.3, 0.3)), (100, (0.1, 0.5))])
        fused = fuse_streams(rgb, flow, FusionConfig())
        # 0.18 to 0.06 of (0.8 + 0.6) / 2, and 0.05 to 0.05 of 0.6
        assert scores_of(fused) == [pytest.approx([0.525, 0.175]), pytest.approx([0.3, 0.3])]
        assert fused.detections[0].scores.tolist() == pytest.approx([0.45, 0.3])  # objectness is averaged

    def test_a_class_that_both_find_likely_gains_on_one_that_only_one_is_sure_of(self):
        rgb, flow = video([(0, (0.5, 0.4))]), video([(0, (0.05, 0.4))])
        (product,), (mean,) = (scores_of(fuse_streams(rgb, flow, config)) for config in (PRODUCT, MEAN))
        assert product[1] > mean[1] > mean[0] > product[0]
        assert sum(product) == pytest.approx(sum(mean))

    def test_three_streams_and_their_weights(self):
        streams = [np.float32([scores]) for scores in ([0.6, 0.3], [0.2, 0.4], [0.5, 0.1])]
        third = np.full(3, 1 / 3)
        product = np.array([0.6 * 0.2 * 0.5, 0.3 * 0.4 * 0.1])
        assert product_of_streams(streams, third)[0] == pytest.approx(product / product.sum() * (0.9 + 0.6 + 0.6) / 3)
        # the third stream is left out, and the second counts half as much as the first
        product = np.array([0.6 * 0.2**0.5, 0.3 * 0.4**0.5])
        expected = product / product.sum() * (2 * 0.9 + 0.6) / 3
        assert product_of_streams(streams, np.array([2 / 3, 1 / 3, 0.0]))[0] == pytest.approx(expected)

    def test_one_stream_alone_is_itself(self):
        scores = np.random.default_rng(0).dirichlet(np.ones(5), 7).astype(np.float32)
        assert product_of_streams([scores], np.ones(1)) == pytest.approx(scores, abs=1e-6)
        assert product_of_streams([scores, scores[:, ::-1]], np.array([1.0, 0.0])) == pytest.approx(scores, abs=1e-6)

    def test_streams_that_agree_on_no_class_are_averaged(self):
        one, other = np.float32([[0.8, 0.0], [0.0, 0.0]]), np.float32([[0.0, 0.4], [0.0, 0.0]])
        half = np.full(2, 0.5)
        assert product_of_streams([one, other], half).tolist() == mean_of_streams([one, other], half).tolist()
        assert product_of_streams([one[:0], other[:0]], half).shape == (0, 2)


class TestBoost:
    def test_a_score_grows_by_that_of_the_box_that_overlaps_most_times_the_overlap(self):
        # shifted by 8 of 40 the IoU is 32 / 48
        rgb, flow = video([(0, (0.5, 0.1)), (200, (0.4, 0.2))]), video([(8, (0.6, 0.3))])
        assert scores_of(fuse_streams(rgb, flow, BOOST)) == [
            pytest.approx([0.5 + 0.6 * 32 / 48, 0.1 + 0.3 * 32 / 48]),
            pytest.approx([0.4, 0.2]),  # nothing there in the second stream
        ]
        assert fuse_streams(rgb, flow, BOOST).detections[0].scores.tolist() == pytest.approx([0.5, 0.4])

    def test_every_box_is_boosted_and_one_box_may_boost_several(self):
        rgb, flow = video([(0, (0.5, 0.1)), (8, (0.4, 0.2))]), video([(4, (0.6, 0.0))])
        expected = [pytest.approx([0.5 + 0.6 * 36 / 44, 0.1]), pytest.approx([0.4 + 0.6 * 36 / 44, 0.2])]
        assert scores_of(fuse_streams(rgb, flow, BOOST)) == expected

    def test_the_overlap_must_reach_the_threshold(self):
        # shifted by 20 of 40: IoU 20 / 60
        rgb, flow = video([(0, (0.5, 0.0))]), video([(20, (0.6, 0.0))])
        assert scores_of(fuse_streams(rgb, flow, BOOST))[0][0] == pytest.approx(0.5 + 0.6 / 3)
        strict = dataclasses.replace(BOOST, iou=0.34)
        assert scores_of(fuse_streams(rgb, flow, strict)) == scores_of(rgb)

    def test_most_overlap_counts_not_the_best_score(self):
        # IoU 38 / 42 and 16 / 64, both enough
        rgb, flow = video([(0, (0.5, 0.0))]), video([(2, (0.1, 0.0)), (24, (0.9, 0.0))])
        assert scores_of(fuse_streams(rgb, flow, dataclasses.replace(BOOST, iou=0.2)))[0][0] == pytest.approx(
            0.5 + 0.1 * 38 / 42
        )

    def test_a_class_sees_only_the_boxes_it_keeps_after_suppression(self):
        # IoU 30 / 50 of both: for running the second box is suppressed by the first, for jumping the first
        rgb, flow = video([(10, (0.5, 0.5))]), video([(0, (0.9, 0.2)), (10, (0.3, 0.7))])
        assert scores_of(fuse_streams(rgb, flow, BOOST)) == [pytest.approx([0.5 + 0.9 * 30 / 50, 0.5 + 0.7])]
        both = dataclasses.replace(BOOST, nms_iou=1.0)
        assert scores_of(fuse_streams(rgb, flow, both)) == [pytest.approx([0.5 + 0.3, 0.5 + 0.7])]
        assert scores_of(fuse_streams(rgb, flow, dataclasses.replace(both, top_boxes=1)))[0][0] == pytest.approx(
            0.5 + 0.9 * 30 / 50
        )

    def test_the_weight_is_a_factor(self):
        rgb, flow = video([(0, (0.5, 0.1))]), video([(0, (0.6, 0.2))])
        fused = fuse_streams(rgb, flow, FusionConfig("boost", weight=2.0))
        assert scores_of(fused) == [pytest.approx([0.5 + 2 * 0.6, 0.1 + 2 * 0.2])]

    def test_frames_without_boxes(self):
        rgb, flow = video([(0, (0.5, 0.1))], []), video([], [(0, (0.5, 0.1))])
        fused = fuse_streams(rgb, flow, BOOST)
        assert scores_of(fused) == scores_of(rgb)
        assert len(fused.detections[1]) == 0

    def test_boosting_first_and_suppressing_then_is_the_published_order_where_suppression_agrees(self):
        """Against plain loops over boxes and classes that suppress both streams first, as Saha's code does."""
        rng = np.random.default_rng(0)

        def stream():
            frames = [[(x, rng.uniform(0, 1, 2)) for x in rng.uniform(0, 200, 6)] for _ in range(20)]
            return video(*frames)

        rgb, flow = stream(), stream()
        fused = fuse_streams(rgb, flow, BOOST)
        for one, other, ours in zip(rgb.detections, flow.detections, fused.detections):
            for c in range(2):
                rivals = nms(other.boxes, other.class_scores[:, c], 0.3)[:5]
                for b in nms(one.boxes, one.class_scores[:, c], 0.3)[:5]:
                    overlaps = box_iou(one.boxes[b : b + 1], other.boxes[rivals])[0]
                    k = overlaps.argmax()
                    gain = other.class_scores[rivals[k], c] * overlaps[k] if overlaps[k] >= 0.3 else 0
                    assert ours.class_scores[b, c] == pytest.approx(one.class_scores[b, c] + gain)


class TestUnion:
    def test_the_boxes_of_both_keep_their_scores(self):
        rgb, flow = video([(0, (0.5, 0.1))], []), video([(8, (0.6, 0.3))], [(9, (0.2, 0.1))])
        fused = fuse_streams(rgb, flow, UNION)
        assert fused.detections[0].boxes[:, 0].tolist() == [0, 8]
        assert scores_of(fused) == [pytest.approx([0.5, 0.1]), pytest.approx([0.6, 0.3])]
        assert fused.detections[0].scores.tolist() == pytest.approx([0.5, 0.6])
        assert scores_of(fused, 1) == [pytest.approx([0.2, 0.1])]

    def test_the_weight_scales_the_class_scores_of_the_second_stream(self):
        rgb, flow = video([(0, (0.5, 0.1))]), video([(8, (0.6, 0.3))])
        fused = fuse_streams(rgb, flow, FusionConfig("union", weight=0.5))
        assert scores_of(fused) == [pytest.approx([0.5, 0.1]), pytest.approx([0.3, 0.15])]


def test_class_columns_are_matched_by_name():
    rgb, flow = video([(0, (0.8, 0.1))]), video([(0, (0.2, 0.6))], names=("jump", "run"))
    assert scores_of(fuse_streams(rgb, flow, MEAN)) == [pytest.approx([(0.8 + 0.6) / 2, (0.1 + 0.2) / 2])]


def test_the_rest_of_the_record_is_that_of_the_first():
    fused = fuse_streams(video([], [], cuts=(1,)), video([], [], fps=30.0), MEAN)
    assert (fused.fps, fused.cuts, fused.num_frames) == (25.0, (1,), 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video": "other"}, "of two videos, 'clip' and 'other'"),
        ({"names": ("run", "sit")}, "clip: the streams have other classes; only one of them has 'jump'"),
        ({"width": 640}, "clip: the streams have boxes for 320 x 240 and 640 x 240 pixels"),
    ],
)
def test_streams_that_do_not_belong_together(changes, message):
    with pytest.raises(FusionError, match=message):
        fuse_streams(video([]), video([], **changes), UNION)


def test_streams_of_unequal_length():
    with pytest.raises(FusionError, match="clip: the streams have 1 and 2 frames"):
        fuse_streams(video([]), video([], []), UNION)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": -0.1}, "weight must be a number, 0 or more"),
        ({"weight": 1.1}, "share and must lie in 0..1, got 1.1"),
        ({"iou": 2.0}, "iou is an IoU"),
        ({"nms_iou": -1.0}, "nms_iou is an IoU"),
        ({"top_boxes": 0}, "top_boxes must be 1 or more"),
    ],
)
def test_settings_that_make_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        FusionConfig(**changes)
