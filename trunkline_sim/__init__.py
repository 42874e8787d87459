"""The phone network and the AI vendors in a box: simulators that speak the real wire protocols."""
