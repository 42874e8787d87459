"""The carriers whose calls arrive at a media socket: one row each, listed here and nowhere else."""

from collections.abc import Mapping

from trunkline.bridge.carrier_http import CarrierHttp
from trunkline.bridge.carriers import smartflo, smartflo_http, twilio, twilio_http
from trunkline.bridge.dialect import MediaProfile
from trunkline.config import Carriers


def carriers(settings: Carriers) -> Mapping[str, MediaProfile]:
    """`{name: profile}` of every media-socket carrier, with the settings of `[carriers]`."""
    return {
        smartflo.NAME: smartflo.profile(settings.smartflo),
        twilio.NAME: twilio.profile(settings.twilio),
    }


def carriers_http(settings: Carriers) -> Mapping[str, CarrierHttp]:
    """`{name: its HTTP side}`: answer documents, web hooks, signatures; the same names as `carriers`."""
    return {
        smartflo.NAME: smartflo_http.http(settings.smartflo),
        twilio.NAME: twilio_http.http(settings.twilio),
    }


CARRIERS: Mapping[str, MediaProfile] = carriers(Carriers())  # with default settings: names, frame sizes, leads
