"""A gateway without a service: `python -m bench.sip_gateway OPTIONS`, JSON; its addresses as JSON once it listens."""

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
    set_up("warning", "console")
    async with Gateway(msgspec.json.decode(sys.argv[1], type=Options)) as gateway:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, gateway.stop)
        print(json.dumps(gateway.listening), flush=True)
        await gateway.run()


if __name__ == "__main__":
    asyncio.run(main())
