"""The annotation of a dataset of one's own, under the classes and in the parts that its description gives it."""

from __future__ import annotations

from dataclasses import replace

from linking.records import VideoAnnotation
from video.annotations import Annotations, FormatOptions, joined, read_annotations
from video.dataset_description import DatasetError, Description, names_by_part
from video.ground_truth import read_class_names
from video.jhmdb import Split


def read_described(
    description: Description, *, kind: str | None = None, options: FormatOptions | None = None
) -> Annotations:
    """The annotation of a dataset of one's own under the classes that its description gives it, its parts as a split.

    ``options`` win over those of the description. Videos listed in a part of which the annotation says nothing are
    there without tubes. Raises DatasetError for what contradicts the description, and as read_annotations does.
    """
    kind = kind or description.format.get("kind")
    options = format_options_of(description, options)
    files = description.annotations
    read = joined([(read_annotations(file, kind=kind, options=options), file) for file in files])
    videos = list(read.videos)
    if description.rename or description.keep is not None:
        videos = [_relabelled(video, description) for video in videos]
    labels = sorted({label for video in videos for label in video.labels})
    class_names = description.class_names or description.keep or read.class_names or tuple(labels)
    unknown = [label for label in labels if label not in class_names]
    if unknown:
        raise DatasetError(
            f"{read.name}: label {unknown[0]!r} is not among the class_names of {description.place}; "
            "add it, or rename it there"
        )
    splits = read.splits
    if parts := names_by_part(description, sorted(video.video for video in videos)):
        splits = (Split(parts["train"], parts["test"]),)
        known = {video.video for video in videos}
        listed = dict.fromkeys(name for names in parts.values() for name in names)
        videos += [VideoAnnotation(name) for name in listed if name not in known]
    ordered = tuple(sorted(videos, key=lambda video: video.video))
    return Annotations(read.kind, ordered, tuple(class_names), splits, str(description.place))


def format_options_of(description: Description, options: FormatOptions | None = None) -> FormatOptions:
    """What the description says of the format; what ``options`` say otherwise than by default wins."""
    usual, options = FormatOptions(), options or FormatOptions()
    given = {key: value for key, value in description.format.items() if key != "kind"}
    if "size" in given:
        given["size"] = (given["size"][0], given["size"][1])
    if "class_names" in given:
        given["class_names"] = read_class_names(description.folder / given["class_names"])
    return replace(
        options, **{key: value for key, value in given.items() if getattr(options, key) == getattr(usual, key)}
    )


def _relabelled(video: VideoAnnotation, description: Description) -> VideoAnnotation:
    tubes = [(tube, description.class_of(tube.label)) for tube in video.tubes]
    return replace(
        video,
        tubes=tuple(
            tube if name == tube.label else replace(tube, label=name) for tube, name in tubes if name is not None
        ),
    )
