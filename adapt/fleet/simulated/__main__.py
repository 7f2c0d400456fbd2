"""Command line of a simulated agent; the options are those of the agent that it stands for.

python -m adapt.fleet.simulated --listen unix:PATH --token-stdin --profile FILE
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from adapt.errors import InputError
from adapt.fleet.simulated.agent import SimulatedAgent
from adapt.fleet.simulated.profile import Profile, read_profile
from device_agent.address import Address, AddressError
from device_agent.auth import TokenError, read_token
from device_agent.server import Server


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(prog="simulated", description=__doc__.partition("\n")[0])
    parser.add_argument("--listen", required=True, metavar="ADDRESS")
    parser.add_argument("--token-stdin", action="store_true", required=True)
    parser.add_argument("--profile", required=True, type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        address = Address.parse(options.listen)
        profile = read_profile(options.profile)
        token = read_token(0)
    except (AddressError, InputError, TokenError) as error:
        raise SystemExit(f"simulated: {error}") from None
    os.umask(0o077)
    asyncio.run(_serve(address, token, profile))


async def _serve(address: Address, token: str, profile: Profile) -> None:
    server = Server(token, SimulatedAgent(profile))
    bound = await server.start(address)
    print(json.dumps({"address": str(bound)}), flush=True)
    while await asyncio.to_thread(os.read, 0, 4096):
        pass
    await server.stop(None)


if __name__ == "__main__":
    main()
