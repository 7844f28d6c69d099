"""Training clips and the order in which they are drawn."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recognition.class_clips import MicroBatches, collate
from tests.squares import square_videos
from tests.tiny_classifier import tiny_clips
from video.class_datasets import ClassDataset, ClassifiedVideo, open_classes
from video.source import VideoError


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ClassDataset:
    folder = tmp_path_factory.mktemp("squares")
    square_videos(folder, count=4)
    return open_classes(folder)


def test_items_depend_on_seed_epoch_and_index_only(dataset: ClassDataset) -> None:
    one, other = tiny_clips(dataset, seed=1), tiny_clips(dataset, seed=1)
    other[0, 3]
    view, label = one[0, 2]
    assert view.shape == (6, 20, 20, 3)
    assert view.dtype == torch.uint8
    assert dataset.class_names[label] == dataset.videos[2].label
    assert torch.equal(view, other[0, 2][0])
    assert not torch.equal(view, other[1, 2][0])
    assert not torch.equal(view, tiny_clips(dataset, seed=2)[0, 2][0])


def test_several_clips_of_a_video_differ(dataset: ClassDataset) -> None:
    clips = tiny_clips(dataset)
    clips.clips_per_video = 2
    assert len(clips) == 8
    (first, label), (second, same) = clips[0, 1], clips[0, 5]
    assert label == same
    assert not torch.equal(first, second)


def test_a_video_that_cannot_be_read_stands_back_for_the_next(dataset: ClassDataset, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    broken = ClassifiedVideo(tmp_path / "broken.mp4", "down", "broken")
    clips = tiny_clips(replace(dataset, videos=(broken, *dataset.videos)))
    with pytest.warns(UserWarning, match=r"left out of training: .*broken\.mp4"):
        _, label = clips[0, 0]
    assert dataset.class_names[label] == dataset.videos[0].label
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clips[1, 0]  # it has been told
    alone = tiny_clips(replace(dataset, videos=(broken,)))
    with pytest.warns(UserWarning, match="left out"), pytest.raises(VideoError, match="in a row cannot be read"):
        alone[0, 0]


def test_collate_stacks_views_and_labels(dataset: ClassDataset) -> None:
    clips = tiny_clips(dataset)
    views, labels = collate([clips[0, 0], clips[0, 1]])
    assert views.shape == (2, 6, 20, 20, 3)
    assert labels.tolist() == [clips[0, 0][1], clips[0, 1][1]]


def steps(**options: int) -> list[list[tuple[int, int]]]:
    return list(MicroBatches(**{"num_clips": 10, "batch": 4, "seed": 3, "end": 4, **options}))


def test_an_epoch_takes_every_clip_at_most_once_in_an_order_of_its_own() -> None:
    batches = steps()
    assert MicroBatches(10, batch=4, seed=3, end=4).steps_per_epoch == 2  # two clips are left over
    assert [{epoch for epoch, _ in batch} for batch in batches] == [{0}, {0}, {1}, {1}]
    orders = [[index for _, index in (*batches[k], *batches[k + 1])] for k in (0, 2)]
    assert all(len(set(order)) == 8 for order in orders)
    assert orders[0] != orders[1]


def test_a_run_that_goes_on_sees_what_it_would_have_seen() -> None:
    assert steps(first=3) == steps()[3:]
    assert steps(first=4) == []


def test_processes_and_parts_share_the_same_clips() -> None:
    whole = steps()
    parts = steps(accumulate=2)
    assert [a + b for a, b in zip(parts[::2], parts[1::2])] == whole
    shares = [steps(rank=rank, processes=2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*shares)] == whole
    assert [batch for pair in zip(*shares) for batch in pair] == parts
    assert [len(batch) for batch in steps(rank=1, processes=2, accumulate=2)] == [2 // 2] * 8
    with pytest.raises(ValueError, match="a batch of 4 clips cannot be cut into 3"):
        steps(processes=3)


def test_a_dataset_smaller_than_a_batch_is_gone_through_several_times() -> None:
    (batch,) = steps(num_clips=3, batch=8, end=1)
    indices = sorted(index for _, index in batch)
    assert len(indices) == 8
    assert all(2 <= indices.count(index) <= 3 for index in range(3))
