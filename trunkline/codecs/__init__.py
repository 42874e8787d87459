"""Samples and bits: pure, no sockets, no asyncio.

frame, codec     the contracts: `AudioFrame`, `Codec` with `Encoder` and `Decoder` (no numpy behind them)
table            `CODECS`, `codec_for(encoding, rate)`; g711, l16: the codecs themselves
resample         `Resampler` for streams, `resample_clip` for whole clips
reframe          `Reframer`: chunks of any size → frames of one size
conceal          what to play for lost samples (used by the decoders)
level            `rms_dbov`, `peak_dbov`
tones, dtmf, progress   making keys and tones, hearing keys, hearing beeps and busy tones
wav              reading and writing WAV

Names are imported from their modules, so that a process that needs only the contracts does not load numpy.
"""
