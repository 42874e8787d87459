"""A gateway as a process of its own: options as JSON in the first argument; a line of JSON when it is ready."""

import asyncio
import json
import signal
import sys

import msgspec

from trunkline.bridge.sip.gateway import Gateway
from trunkline.bridge.sip.options import Options
from trunkline.log import set_up


async def main() -> None:
    """Until SIGTERM."""
    set_up("debug", "console")
    async with Gateway(msgspec.json.decode(sys.argv[1], type=Options)) as gateway:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, gateway.stop)
        print(json.dumps({"listening": gateway.listening}), flush=True)
        await gateway.run()
        print(json.dumps(gateway.figures()), flush=True)


asyncio.run(main())
