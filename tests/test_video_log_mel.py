"""Log-mel spectrograms against scipy and hand arithmetic."""

import math

import numpy as np
import pytest
import scipy.signal

from tests.sound_samples import tone
from video.log_mel import LogMel, as_picture, log_mel, mel, mel_weights

SILENCE = math.log(0.01)


def centre(band, config):
    """Hz at which a band is 1, by inverting the mel scale."""
    low, high = (1127 * math.log(1 + hertz / 700) for hertz in (config.low, config.high))
    return 700 * (math.exp((low + (high - low) * (band + 1) / (config.bands + 1)) / 1127) - 1)


def test_the_mel_scale():
    assert mel(0) == 0
    assert mel(1000) == pytest.approx(1000, abs=0.1)  # by definition of the scale
    assert mel(700) == pytest.approx(1127 * math.log(2))


def test_bands_by_hand():
    # frequencies 0, 1000, ... 4000 Hz; edges at mel(0), 1/3, 2/3 and all of mel(4000)
    config = LogMel(rate=8000, window=8, hop=4, fft=8, bands=2, low=0, high=4000)
    top = mel(4000)
    position = [3 * float(mel(hertz) / top) for hertz in (0, 1000, 2000, 3000, 4000)]  # in widths of a band
    assert [int(p) for p in position] == [0, 1, 2, 2, 3]
    first = [0, 2 - position[1], 0, 0, 0]
    second = [0, position[1] - 1, 3 - position[2], 3 - position[3], 0]
    np.testing.assert_allclose(mel_weights(config), [first, second], atol=1e-12)


def test_neighbouring_bands_share_what_lies_between_their_middles():
    config = LogMel()
    weights = mel_weights(config)
    frequencies = np.arange(weights.shape[1]) * config.rate / config.fft
    inside = (frequencies >= centre(0, config)) & (frequencies <= centre(config.bands - 1, config))
    np.testing.assert_allclose(weights.sum(axis=0)[inside], 1)
    assert not weights[:, frequencies <= config.low].any()
    assert not weights[:, frequencies >= config.high].any()


@pytest.mark.parametrize("config", [LogMel(), LogMel(bands=64, fft=512)], ids=["ours", "VGGish"])
def test_the_spectrum_is_scipys(config):
    samples = np.random.default_rng(0).uniform(-1, 1, 3000).astype(np.float32)
    window = scipy.signal.get_window("hann", config.window)
    _, _, magnitude = scipy.signal.spectrogram(
        samples,
        window=window,
        noverlap=config.window - config.hop,
        nfft=config.fft,
        detrend=False,
        scaling="spectrum",
        mode="magnitude",
    )
    expected = np.log(mel_weights(config) @ (magnitude * window.sum()) + 0.01)
    found = log_mel(samples, config)
    assert found.shape == (config.bands, 1 + (3000 - 400) // 160)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("band", [0, 3, 20, 64, 127])
def test_a_pure_tone_is_loudest_in_its_band(band):
    config = LogMel()
    spectrogram = log_mel(tone(centre(band, config)), config)
    assert set(spectrogram.argmax(axis=0)) == {band}


def test_one_column_by_the_definition():
    config = LogMel(rate=8000, window=8, hop=4, fft=16, bands=2, low=0, high=4000)
    samples = np.array([1, -2, 3, 0, 1, 1, -1, 2], np.float32)
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / 8) for n in range(8)]
    magnitude = [
        abs(sum(x * w * np.exp(-2j * np.pi * k * n / 16) for n, (x, w) in enumerate(zip(samples, hann))))
        for k in range(9)
    ]
    expected = [math.log(sum(w * m for w, m in zip(row, magnitude)) + 0.01) for row in mel_weights(config)]
    np.testing.assert_allclose(log_mel(samples, config)[:, 0], expected, rtol=1e-5)


def test_silence_is_the_logarithm_of_the_offset():
    assert log_mel(np.zeros(800), LogMel()) == pytest.approx(SILENCE)


def test_columns_begin_every_hop_and_none_is_padded():
    config = LogMel()
    assert [log_mel(np.zeros(n), config).shape[1] for n in (0, 399, 400, 559, 560, 16000)] == [0, 0, 1, 1, 2, 98]
    assert config.samples_of(1) == 400
    assert log_mel(np.zeros(config.samples_of(96)), config).shape[1] == 96
    # a click in sample 560 is seen by the columns that begin at 160 < ... <= 560
    click = np.zeros(1600)
    click[560] = 1
    seen = np.flatnonzero((log_mel(click, config) > SILENCE + 0.01).any(axis=0))
    assert seen.tolist() == [2, 3]  # at the very ends of columns 1 (160 to 560) and 4 Hann is zero or nearly so


def test_a_louder_sound_is_shifted_up():
    config = LogMel()
    quiet, loud = (log_mel(tone(1000) * factor, config).max(axis=0) for factor in (1, 2))
    np.testing.assert_allclose(loud - quiet, math.log(2), atol=0.001)  # but for the offset


def test_pictures_run_from_silence_to_the_loudest():
    config = LogMel()
    assert as_picture(np.array([[SILENCE, 7.0, -9.0, 99.0]]), config).tolist() == [[0, 255, 0, 255]]
    middle = (SILENCE + 7) / 2
    assert as_picture(np.array([[middle]]), config).tolist() == [[128]]  # 127.5
    loudest = log_mel(np.sign(tone(7000)), config)
    assert loudest.max() < 7.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0}, "hop must be 1 or more, got 0"),
        ({"fft": 256}, "fft must be at least the window's 400 samples, got 256"),
        ({"high": 9000}, "low and high must be 0 <= low < high <= rate / 2, got 125.0 and 9000 Hz"),
        ({"low": 8000.0}, "low and high"),
        ({"offset": 0.0}, r"offset must be above 0, got 0\.0"),
        ({"fft": 512}, "band 0 lies between two frequencies of the transform; take a larger fft than 512 or fewer"),
    ],
)
def test_options_that_make_no_spectrogram_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LogMel(**options)
